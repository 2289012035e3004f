"""What the versions that are loaded have done, as plain records: read by ModelStatistics and by metrics.

Sums of what counting/counters.py counts. Taken while threads count on, so figures of one snapshot may be a request
apart; each of them never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.batch import CLOSED_BY
from sardonyx_server.engine.telemetry.counters import ROWS_BOUNDS, SECONDS_BOUNDS, Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.engine.telemetry.counters import Counters
    from sardonyx_server.engine.telemetry.failures import FailureCounts

__all__ = [
    "BatchStatistics",
    "Duration",
    "Histogram",
    "ResponseStatistics",
    "VersionStatistics",
    "snapshot",
    "snapshots",
]

_NS_PER_S: Final = 1_000_000_000
_MS_PER_S: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """Time of several events.

    Attributes:
        count: Events.
        ns: Their time in all.
    """

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """Runs of one size.

    Attributes:
        size_rows: Rows of each run.
        count: Runs.
        input_ns: Time for gathering their inputs, in all.
        infer_ns: Time in the model.
        output_ns: Time from the model's answer to the last answer of a request.
    """

    size_rows: int
    count: int
    input_ns: int
    infer_ns: int
    output_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often which size came.

    Attributes:
        bounds: Upper bounds of the buckets, ascending; each belongs to its bucket. In seconds, or in rows.
        counts: Of each bucket, and last of all beyond the last bound; not cumulative.
        total: Sum of all sizes.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseStatistics:
    """Responses that went out on streams, of one index within their request.

    Attributes:
        compute_infer: Time for gathering inputs and in the model.
        compute_output: Time from the model's answer to the response.
        success: Responses with outputs.
        fail: Responses with an error.
        empty_response: Final responses that hold nothing.
        cancel: Responses that nobody waited for any more.
    """

    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    success: Duration = Duration()
    fail: Duration = Duration()
    empty_response: Duration = Duration()
    cancel: Duration = Duration()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatistics:
    """One version since it was loaded.

    A request that was cut into parts counts once. A batch's times count for each request in it.

    Attributes:
        model: Name of the model.
        version: Number of the version.
        last_inference_ms: When the model last ran, in Unix time; 0 for never.
        inference_count: Rows that were answered by a run.
        execution_count: Runs.
        success: Requests answered with outputs, from arrival to answer; also those that the cache answered.
        fail: Requests answered with an error. Those that never came into the queue took no time.
        queue: Wait of the requests answered with outputs.
        compute_input: Their share in the gathering of inputs.
        compute_infer: Their time in the model.
        compute_output: Their time from the model's answer to their own.
        cache_hit: Requests that the cache answered: the time to find the answer.
        cache_miss: Requests that it did not: the time to look, and to put the answer in.
        batches: Runs by size, ascending.
        pending_requests: Requests that wait now, or of which a part still does.
        closed_by: Reason why nothing more joined a batch -> batches.
        failures: Triton's reason (REJECTED, CANCELED, BACKEND, OTHER) -> requests; all four, always.
        rejections: Why a request was refused or dropped -> requests; a fixed set of reasons, always all of it.
        request_s: Time from arrival to answer, of requests answered with outputs.
        queue_s: Wait, of the same.
        compute_s: Time for gathering and running, by run.
        batch_rows: Rows, by run.
        responses: Index of a response within its request -> responses on streams; empty where none was sent.
        provider: Execution provider that owns the most nodes.
        load_s: Time from reading the file to ready.
    """

    model: str
    version: int
    last_inference_ms: int
    inference_count: int
    execution_count: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration
    batches: tuple[BatchStatistics, ...]
    pending_requests: int
    closed_by: Mapping[str, int]
    failures: Mapping[str, int]
    rejections: Mapping[str, int]
    request_s: Histogram
    queue_s: Histogram
    compute_s: Histogram
    batch_rows: Histogram
    responses: Mapping[str, ResponseStatistics]
    provider: str
    load_s: float


def snapshot(model: Model) -> VersionStatistics:
    """What one version has done up to now. Any thread; takes no lock of those that serve its requests well."""
    counters = model.counters
    failed = model.failures.counts()
    requests = sum(one.requests for one in counters)
    hits = sum(one.cache_hits for one in counters)
    request_s = sum(one.request_s for one in counters)
    queue_s = sum(one.queue_s for one in counters)
    sizes = _sizes(counters)
    return VersionStatistics(
        model=model.name,
        version=model.version,
        last_inference_ms=int(max(one.last_run_unix_s for one in counters) * _MS_PER_S),
        inference_count=sum(one.rows for one in counters),
        execution_count=sum(size.count for size in sizes.values()),
        success=_duration(requests + hits, request_s),
        fail=_duration(failed.count, failed.total_s),
        # With the hits, as Triton has it: load generators want it to grow with every request.
        queue=_duration(requests + hits, queue_s),
        compute_input=_duration(requests, sum(one.input_s for one in counters)),
        compute_infer=_duration(requests, sum(one.infer_s for one in counters)),
        compute_output=_duration(requests, sum(one.output_s for one in counters)),
        cache_hit=_duration(hits, sum(one.cache_hit_s for one in counters)),
        cache_miss=_duration(sum(one.cache_misses for one in counters), sum(one.cache_miss_s for one in counters)),
        batches=tuple(
            BatchStatistics(
                size_rows=rows,
                count=size.count,
                input_ns=_ns(size.input_s),
                infer_ns=_ns(size.infer_s),
                output_ns=_ns(size.output_s),
            )
            for rows, size in sorted(sizes.items())
        ),
        pending_requests=model.pending_requests,
        closed_by=MappingProxyType(
            {reason: sum(one.closed_by.get(reason, 0) for one in counters) for reason in CLOSED_BY}
        ),
        failures=failed.failures,
        rejections=failed.rejections,
        request_s=_histogram(SECONDS_BOUNDS, [one.request_counts for one in counters], request_s),
        queue_s=_histogram(SECONDS_BOUNDS, [one.queue_counts for one in counters], queue_s),
        compute_s=_histogram(
            SECONDS_BOUNDS,
            [one.compute_counts for one in counters],
            sum(size.input_s + size.infer_s for size in sizes.values()),
        ),
        batch_rows=_histogram(
            ROWS_BOUNDS, [one.rows_counts for one in counters], sum(one.run_rows for one in counters)
        ),
        responses=MappingProxyType(_responses(counters, failed)),
        provider=model.info.provider,
        load_s=model.info.load_s,
    )


def snapshots(registry: Registry) -> list[VersionStatistics]:
    """Of every version that is ready, by name and number. Any thread."""
    return [
        snapshot(status.model)
        for _, entry in sorted(registry.entries().items())
        for status in entry.versions.values()
        if status.model is not None
    ]


def _responses(counters: Sequence[Counters], failed: FailureCounts) -> dict[str, ResponseStatistics]:
    """By index; a model here has one response to each request, the one of index 0."""
    answered = sum(one.responses for one in counters)
    if not answered + failed.responses + failed.cancelled_responses:
        return {}
    first = ResponseStatistics(
        compute_infer=_duration(answered, sum(one.response_compute_s for one in counters)),
        compute_output=_duration(answered, sum(one.response_output_s for one in counters)),
        success=_duration(answered, sum(one.response_s for one in counters)),
        fail=_duration(failed.responses, failed.responses_s),
        cancel=_duration(failed.cancelled_responses, failed.cancelled_responses_s),
    )
    return {"0": first}


def _sizes(counters: Iterable[Counters]) -> dict[int, Size]:
    sizes: dict[int, Size] = {}
    for one in counters:
        # A copy, since the counting thread may add to it meanwhile.
        for rows, size in one.sizes.copy().items():
            whole = sizes.setdefault(rows, Size())
            whole.count += size.count
            whole.input_s += size.input_s
            whole.infer_s += size.infer_s
            whole.output_s += size.output_s
    return sizes


def _histogram(bounds: tuple[float, ...], counts: Sequence[list[int]], total: float) -> Histogram:
    return Histogram(bounds=bounds, counts=tuple(map(sum, zip(*counts, strict=True))), total=total)


def _duration(count: int, seconds: float) -> Duration:
    return Duration(count=count, ns=_ns(seconds))


def _ns(seconds: float) -> int:
    return round(seconds * _NS_PER_S)
