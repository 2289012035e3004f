"""Counters of answers and batches. Plain numbers without a clock: callers pass the times.

Each thread that answers has its own counters, so that no lock is needed. Failures are counted in failures.py.
engine/statistics.py adds the counters up.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_server.engine.telemetry.failures import Failures

__all__ = ["ROWS_BOUNDS", "SECONDS_BOUNDS", "Counters", "SizeCounters"]

SECONDS_BOUNDS: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
"""Bucket bounds of latency histograms: an inline model answers in 50 us, and few callers wait for more than 10 s."""

ROWS_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Bucket bounds of the histogram of batch sizes."""

# Batch sizes up to this are counted exactly, larger ones in powers of two: callers choose the rows of their requests,
# so a model with huge batches could otherwise get a table of millions.
_MAX_EXACT_ROWS: Final = 4096


class SizeCounters:
    """Counters of the runs of one batch size, by one thread.

    Attributes:
        count: Number of runs.
        input_s: Total time for gathering inputs.
        infer_s: Total time in the model.
        output_s: Total time for slicing, encoding and sending answers.
    """

    __slots__ = ("count", "infer_s", "input_s", "output_s")

    def __init__(self) -> None:
        self.count = 0
        self.input_s = self.infer_s = self.output_s = 0.0


class Counters:
    """Counters of one thread for one model. Only that thread writes; others may read at any time.

    Args:
        failures: Counts requests that fail.

    Attributes:
        requests: Requests answered from a run.
        rows: Rows of these requests.
        request_s: Total time from arrival to answer, including cache hits.
        queue_s: Total time in the queue, including cache hits.
        input_s: Total time for gathering the inputs of a batch, counted once for each request of the batch.
        infer_s: Total time in the model, counted once for each request of the batch.
        output_s: Total time from the end of the run to the answer.
        cache_hits: Requests answered from the cache.
        cache_hit_s: Total look-up time of hits.
        cache_misses: Requests that were not in the cache.
        cache_miss_s: Total time of misses, to look up and to store the answer.
        last_run_unix_s: When the model last ran, in Unix time; 0 = never.
        run_rows: Total rows of all runs.
        sizes: Batch size in rows -> counters.
        closed_by: Number of batches by ``Batch.closed_by``.
        request_counts: Histogram of request_s, by SECONDS_BOUNDS.
        queue_counts: Histogram of queue_s, by SECONDS_BOUNDS.
        compute_counts: Histogram of the time for gathering and running of each run, by SECONDS_BOUNDS.
        rows_counts: Histogram of the rows of each run, by ROWS_BOUNDS.
        responses: Those of the requests that were answered on streams.
        response_s: Total time of responses from arrival to answer.
        response_compute_s: Total time of responses for gathering and in the model.
        response_output_s: Total time from the end of the run to the answer.
    """

    __slots__ = (
        "cache_hit_s",
        "cache_hits",
        "cache_miss_s",
        "cache_misses",
        "closed_by",
        "compute_counts",
        "failures",
        "infer_s",
        "input_s",
        "last_run_unix_s",
        "output_s",
        "queue_counts",
        "queue_s",
        "request_counts",
        "request_s",
        "requests",
        "response_compute_s",
        "response_output_s",
        "response_s",
        "responses",
        "rows",
        "rows_counts",
        "run_rows",
        "sizes",
    )

    def __init__(self, failures: Failures) -> None:
        self.failures = failures
        self.requests = self.rows = self.run_rows = self.cache_hits = self.cache_misses = 0
        self.request_s = self.queue_s = self.input_s = self.infer_s = self.output_s = 0.0
        self.cache_hit_s = self.cache_miss_s = self.last_run_unix_s = 0.0
        self.responses = 0
        self.response_s = self.response_compute_s = self.response_output_s = 0.0
        self.sizes: dict[int, SizeCounters] = {}
        self.closed_by: dict[str, int] = {}
        self.request_counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self.queue_counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self.compute_counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self.rows_counts = [0] * (len(ROWS_BOUNDS) + 1)

    @property
    def batches(self) -> int:
        """Number of runs."""
        return sum(size.count for size in self.sizes.copy().values())

    def closed(self, reason: str) -> None:
        """Count a batch that was taken, by the reason why it was closed."""
        self.closed_by[reason] = self.closed_by.get(reason, 0) + 1

    def ran(self, rows: int, requests: int, *, input_s: float, infer_s: float, unix_s: float) -> None:
        """Count a run.

        Args:
            rows: Rows of the batch.
            requests: Requests, or parts of requests, in the batch.
            input_s: Time for gathering its inputs.
            infer_s: Total time in the model.
            unix_s: Current Unix time.
        """
        size = self._size(rows)
        size.count += 1
        size.input_s += input_s
        size.infer_s += infer_s
        self.input_s += input_s * requests
        self.infer_s += infer_s * requests
        self.compute_counts[bisect_left(SECONDS_BOUNDS, input_s + infer_s)] += 1
        self.rows_counts[bisect_left(ROWS_BOUNDS, rows)] += 1
        self.run_rows += rows
        self.last_run_unix_s = unix_s

    def answered(  # positional, because it runs for each request and keywords would take a quarter of its time
        self,
        rows: int,
        arrived_s: float,
        began_s: float,
        ran_s: float,
        now_s: float,
        streamed: bool,  # noqa: FBT001
    ) -> None:
        """Count a request that is about to be answered with outputs. All times are on one clock.

        Args:
            rows: Rows of the request.
            arrived_s: When it arrived.
            began_s: When its batch, or the first of several, began.
            ran_s: When the run, or the last of several, ended.
            now_s: Current time.
            streamed: Whether the answer is sent on a stream.
        """
        queue_s = began_s - arrived_s
        request_s = now_s - arrived_s
        self.requests += 1
        self.rows += rows
        self.queue_s += queue_s
        self.output_s += now_s - ran_s
        self.request_s += request_s
        self.queue_counts[bisect_left(SECONDS_BOUNDS, queue_s)] += 1
        self.request_counts[bisect_left(SECONDS_BOUNDS, request_s)] += 1
        if streamed:
            self.responses += 1
            self.response_s += request_s
            self.response_compute_s += ran_s - began_s
            self.response_output_s += now_s - ran_s

    def scattered(self, rows: int, output_s: float) -> None:
        """Add the time for sending all or some of the answers of a batch of so many rows."""
        self._size(rows).output_s += output_s

    def hit(self, request_s: float, look_up_s: float, *, streamed: bool) -> None:
        """Count a cache hit.

        Args:
            request_s: Time since arrival. Apart from the look-up it counts as queue time, as it may follow an equal
                request.
            look_up_s: Time of the look-up.
            streamed: Whether the answer is sent on a stream.
        """
        queue_s = request_s - look_up_s
        self.cache_hits += 1
        self.cache_hit_s += look_up_s
        self.queue_s += queue_s
        self.queue_counts[bisect_left(SECONDS_BOUNDS, queue_s)] += 1
        self.request_s += request_s
        self.request_counts[bisect_left(SECONDS_BOUNDS, request_s)] += 1
        if streamed:
            self.responses += 1
            self.response_s += request_s

    def missed(self, cache_s: float) -> None:
        """Count a cache miss, once a run has answered the request."""
        self.cache_misses += 1
        self.cache_miss_s += cache_s

    def _size(self, rows: int) -> SizeCounters:
        if rows > _MAX_EXACT_ROWS:
            rows = 1 << (rows - 1).bit_length()
        size = self.sizes.get(rows)
        if size is None:
            size = self.sizes[rows] = SizeCounters()
        return size
