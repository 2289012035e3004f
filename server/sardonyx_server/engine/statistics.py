"""Snapshots of the counters of loaded versions, as plain records, for ModelStatistics and metrics.

They are totals over the counters of all threads (telemetry/counters.py). Threads count on meanwhile, so the figures of
one snapshot may differ by a request; each figure is monotonic.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.batch import CLOSED_BY
from sardonyx_server.engine.telemetry.counters import ROWS_BOUNDS, SECONDS_BOUNDS, SizeCounters

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
    """Number and total time of events.

    Attributes:
        count: Number of events.
        ns: Total time.
    """

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """Runs of one batch size.

    Attributes:
        size_rows: Batch size.
        count: Number of runs.
        input_ns: Total time for gathering inputs.
        infer_ns: Total time in the model.
        output_ns: Total time from the end of the run to the last answer.
    """

    size_rows: int
    count: int
    input_ns: int
    infer_ns: int
    output_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """A histogram.

    Attributes:
        bounds: Upper bounds of the buckets, inclusive and ascending, in seconds or rows.
        counts: Count of each bucket, and of values beyond the last bound; not cumulative.
        total: Sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseStatistics:
    """Responses on streams, of one index within their request.

    Attributes:
        compute_infer: Time for gathering inputs and in the model.
        compute_output: Time from the end of the run to the response.
        success: Responses with outputs.
        fail: Responses with an error.
        empty_response: Empty final responses.
        cancel: Responses whose caller had cancelled.
    """

    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    success: Duration = Duration()
    fail: Duration = Duration()
    empty_response: Duration = Duration()
    cancel: Duration = Duration()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatistics:
    """Statistics of one version since it was loaded.

    A split request counts once. The times of a batch count once for each request in it.

    Attributes:
        model: Name of the model.
        version: Version number.
        last_inference_ms: When the model last ran, in Unix time; 0 = never.
        inference_count: Rows answered from a run.
        execution_count: Number of runs.
        success: Requests answered with outputs, including cache hits: time from arrival to answer.
        fail: Requests answered with an error. Those that were never queued count with no time.
        queue: Time in the queue of requests answered with outputs.
        compute_input: Time for gathering the inputs of their batches.
        compute_infer: Time in the model.
        compute_output: Time from the end of the run to their answer.
        cache_hit: Requests answered from the cache: time of the look-up.
        cache_miss: Requests not in the cache: time of the look-up and of storing the answer.
        batches: Runs by batch size, ascending.
        pending_requests: Pending requests at present, including those of which only a part still waits.
        closed_by: ``Batch.closed_by`` -> number of batches.
        failures: Triton's reason (REJECTED, CANCELED, BACKEND, OTHER) -> number of requests; always all four.
        rejections: Reason of refusal or drop -> number of requests; always the same fixed set.
        request_s: Time from arrival to answer of requests answered with outputs.
        queue_s: Time in the queue of these requests.
        compute_s: Time for gathering and running of each run.
        batch_rows: Rows of each run.
        responses: Index of a response within its request -> responses on streams; empty if none was sent.
        provider: Execution provider that owns the most nodes.
        load_s: Time from reading the files until the model was ready.
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
    """Take a snapshot of one version. Any thread. Takes no lock that successful requests need."""
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
        # Includes cache hits, as in Triton: load generators expect it to grow with every request.
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
    """Take snapshots of all ready versions, ordered by name and number. Any thread."""
    return [
        snapshot(status.model)
        for _, entry in sorted(registry.entries().items())
        for status in entry.versions.values()
        if status.model is not None
    ]


def _responses(counters: Sequence[Counters], failed: FailureCounts) -> dict[str, ResponseStatistics]:
    """Return response statistics by index. A model has one response to each request, of index 0."""
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


def _sizes(counters: Iterable[Counters]) -> dict[int, SizeCounters]:
    sizes: dict[int, SizeCounters] = {}
    for one in counters:
        # A copy, because the counting thread may add to it meanwhile.
        for rows, size in one.sizes.copy().items():
            total = sizes.setdefault(rows, SizeCounters())
            total.count += size.count
            total.input_s += size.input_s
            total.infer_s += size.infer_s
            total.output_s += size.output_s
    return sizes


def _histogram(bounds: tuple[float, ...], counts: Sequence[list[int]], total: float) -> Histogram:
    return Histogram(bounds=bounds, counts=tuple(map(sum, zip(*counts, strict=True))), total=total)


def _duration(count: int, seconds: float) -> Duration:
    return Duration(count=count, ns=_ns(seconds))


def _ns(seconds: float) -> int:
    return round(seconds * _NS_PER_S)
