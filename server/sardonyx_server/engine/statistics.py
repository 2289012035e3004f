"""What the versions that are loaded have done, as plain records: read by ModelStatistics and by metrics.

Records only; counters.py has the numbers as they are counted, and snapshots are sums of those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BatchStatistics",
    "Duration",
    "Histogram",
    "ResponseStatistics",
    "VersionStatistics",
]


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
        compute_infer: Time in the model.
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
        queue: Wait of the requests that a run answered.
        compute_input: Their share in the gathering of inputs.
        compute_infer: Their time in the model.
        compute_output: Their time from the model's answer to their own.
        cache_hit: Requests that the cache answered: the time to find the answer.
        cache_miss: Requests that it did not: the time to look, and to put the answer in.
        batches: Runs by size, ascending.
        pending_requests: Requests that wait now; each part of one that was cut counts here.
        closed_by: Reason why nothing more joined a batch -> batches.
        failures: Triton's reason (REJECTED, CANCELED, BACKEND, OTHER) -> requests; all four, always.
        rejections: Why a request was refused or dropped -> requests; a fixed set of reasons, always all of it.
        request_s: Time from arrival to answer, of requests answered with outputs.
        queue_s: Wait, of the same without those that the cache answered.
        compute_s: Time for gathering and running, by run.
        batch_rows: Rows, by run.
        responses: Index of a response within its request -> responses on streams.
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
