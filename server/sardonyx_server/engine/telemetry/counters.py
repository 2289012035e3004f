"""What is counted while requests are served. Plain numbers and no clock: who counts says when it was.

Answers are counted in the counters of the thread that gives them, without a lock; failures in failures.py.
engine/statistics.py sums all of it up for whoever asks.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_server.engine.telemetry.failures import Failures

__all__ = ["ROWS_BOUNDS", "SECONDS_BOUNDS", "Counters", "Size"]

SECONDS_BOUNDS: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of the histograms of time: an inline model answers in 50 us, an impatient caller gives up after 10 s."""

ROWS_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Upper bounds of the histogram of batch sizes."""

# Callers choose the rows of their requests: without an end, a model whose batches may have millions would be given a
# table of millions.
_EXACT_ROWS: Final = 4096


class Size:
    """Runs of one size, by one thread.

    Attributes:
        count: Runs.
        input_s: Time for gathering their inputs.
        infer_s: Time in the model.
        output_s: Time for cutting, encoding and handing over their answers.
    """

    __slots__ = ("count", "infer_s", "input_s", "output_s")

    def __init__(self) -> None:
        self.count = 0
        self.input_s = self.infer_s = self.output_s = 0.0


class Counters:
    """What one thread has done for one model. Only that thread writes; others read at any time.

    Args:
        failures: Where requests that fail are counted.

    Attributes:
        requests: Requests answered with the outputs of a run.
        rows: Their rows.
        request_s: Their time from arrival to answer, in all, with that of the cache's hits.
        queue_s: Their wait, with that of the hits.
        input_s: Time for gathering the inputs of a batch, counted for each request of it.
        infer_s: Time in the model, likewise.
        output_s: Their time from the model's answer to their own.
        cache_hits: Requests answered by the cache.
        cache_hit_s: Time to find their answers.
        cache_misses: Requests that the cache could not answer.
        cache_miss_s: Time to look, and to put the answer in.
        last_run_unix_s: When the model last ran; 0 for never.
        run_rows: Rows of all runs.
        sizes: Rows of a run -> runs of that size.
        closed_by: Batches by the reason why nothing more joined.
        request_counts: Histogram of request_s, by SECONDS_BOUNDS.
        queue_counts: Of queue_s, by SECONDS_BOUNDS.
        compute_counts: Of the time for gathering and running, by run, by SECONDS_BOUNDS.
        rows_counts: Of the rows of each run, by ROWS_BOUNDS.
        responses: Of the requests those whose answers went out on streams.
        response_s: Their time from arrival to answer.
        response_compute_s: Their time for gathering and in the model.
        response_output_s: Their time from the model's answer to their own.
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
        self.sizes: dict[int, Size] = {}
        self.closed_by: dict[str, int] = {}
        self.request_counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self.queue_counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self.compute_counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self.rows_counts = [0] * (len(ROWS_BOUNDS) + 1)

    @property
    def batches(self) -> int:
        """Runs of the model."""
        return sum(size.count for size in self.sizes.copy().values())

    def closed(self, reason: str) -> None:
        """A batch was taken."""
        self.closed_by[reason] = self.closed_by.get(reason, 0) + 1

    def ran(self, rows: int, requests: int, *, input_s: float, infer_s: float, unix_s: float) -> None:
        """The model ran for a batch.

        Args:
            rows: Rows of the batch.
            requests: Requests, or parts of one, in it.
            input_s: Time for gathering its inputs.
            infer_s: Time in the model.
            unix_s: Now, in Unix time.
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

    def answered(  # by position, being called once for each request: keywords would take a quarter of its time
        self,
        rows: int,
        arrived_s: float,
        began_s: float,
        ran_s: float,
        now_s: float,
        streamed: bool,  # noqa: FBT001
    ) -> None:
        """A request is about to be answered with outputs. All times by one clock.

        Args:
            rows: Rows of the request.
            arrived_s: When it came.
            began_s: When its batch, or the first one of several, began.
            ran_s: When the model, or the last run of several, had ended.
            now_s: Now.
            streamed: Whether the answer goes out on a stream.
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
        """Answers of a batch of that many rows, all or some, were handed over."""
        self._size(rows).output_s += output_s

    def hit(self, request_s: float, look_up_s: float, *, streamed: bool) -> None:
        """The cache answers a request.

        Args:
            request_s: Time since it came. But for the look-up it waited: for an equal request, or for nothing.
            look_up_s: Time to look for the answer.
            streamed: Whether the answer goes out on a stream.
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
        """The cache could not answer a request, which a run has answered now."""
        self.cache_misses += 1
        self.cache_miss_s += cache_s

    def _size(self, rows: int) -> Size:
        if rows > _EXACT_ROWS:
            rows = 1 << (rows - 1).bit_length()
        size = self.sizes.get(rows)
        if size is None:
            size = self.sizes[rows] = Size()
        return size
