"""Running one batch: gather, run, scatter. Knows no queue and no thread; whoever runs it keeps the counters it gets."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from sardonyx_server.engine.counting.counters import Counters
from sardonyx_server.engine.counting.tracing import Stage, mark_all
from sardonyx_server.engine.requests.outputs import BatchOutputs
from sardonyx_server.engine.requests.strings import Undecoded
from sardonyx_server.engine.shared_memory.region import Unread
from sardonyx_server.errors import ExecutionFailed, InvalidRequest, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sardonyx_server.engine.batching.batch import Batch
    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.counting.failures import Failures
    from sardonyx_server.engine.requests.plan import Bucket, Feed, Tensor
    from sardonyx_server.engine.session import Session
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["HandBack", "gather", "run_batch"]

_LOG = logging.getLogger("sardonyx.engine")

# What the allocators of C, Python and numpy promise, so that a model gets what it would get in a program of its own.
_ALIGNMENT_BYTES: Final = 16
# Copying a few bytes is quicker than asking where they lie.
_COPIED_BYTES: Final = 32 * 1024
# As many are encoded before they are sent: step by step is kinder to the caches than back and forth.
_ANSWERS_AT_ONCE: Final = 16


class HandBack:
    """The way back to the lane's thread for the answers of a batch.

    Two threads that work at the same time pass the interpreter's lock to and fro with every answer they send: it took
    a third more time for each where a runner sent its own (2026-11-23).

    Args:
        later: Has a task run on the lane's thread, soon. Thread-safe, never blocks.
        failures: Where requests that fail are counted.

    Attributes:
        counters: Of the lane's thread, for the answers it sends.
    """

    __slots__ = ("counters", "later")

    def __init__(self, later: Callable[[Callable[[], None]], None], failures: Failures) -> None:
        self.later = later
        self.counters = Counters(failures)


def run_batch(session: Session, batch: Batch, counters: Counters, hand_back: HandBack | None = None) -> None:
    """Run a batch and see to it that each of its jobs is answered. Blocks while the model runs; raises no Exception.

    If the batch raises, its members run singly, so that only the guilty one fails. Whose data cannot be read is known
    without a run: the others stay together.

    Args:
        session: Safe to run on this thread.
        batch: What to run.
        counters: Of the calling thread.
        hand_back: Where the calling thread is not the lane's: takes the answers there. None: they are sent from here.
    """
    jobs = batch.jobs
    counters.closed(batch.closed_by)
    error = _run(session, jobs, batch.rows, counters, hand_back)
    if isinstance(error, InvalidRequest) and len(jobs) > 1:
        jobs = [job for job in jobs if _is_readable(job, counters)]
        rows = sum(job.rows for job in jobs)
        error = _run(session, jobs, rows, counters, hand_back) if jobs else None
    if error is None:
        return
    if len(jobs) == 1:
        _fail(jobs[0], error, counters)
        return
    for job in jobs:
        if (error := _run(session, [job], job.rows, counters, None)) is not None:
            _fail(job, error, counters)


def gather(feed: Feed, tensors: Sequence[Tensor], rows: int, *, has_batch_axis: bool) -> NDArray[np.generic]:
    """One array of one input of several jobs.

    Args:
        feed: Which input.
        tensors: Of each job, in order.
        rows: Rows of all jobs together.
        has_batch_axis: Whether the array gets a first axis of rows.

    Returns:
        Array [rows, *tail], read-only, at an address as numpy's own arrays have: a view of the one job's bytes where
        they lie at one, else of a copy; of several jobs a view of one join of their bytes.
    """
    shape = (rows, *feed.tail) if has_batch_axis else feed.tail
    if feed.dtype.hasobject:
        array = np.empty(rows * feed.row_elements, dtype=object)
        start = 0
        for strings in tensors:
            stop = start + len(strings)
            array[start:stop] = strings.texts() if isinstance(strings, Undecoded) else strings
            start = stop
        return array.reshape(shape)
    try:
        data = _aligned(tensors[0]) if len(tensors) == 1 else b"".join(tensors)  # type: ignore[arg-type]  # no strings
    except TypeError:  # not bytes yet, which is found out here for nothing
        return _read(feed, tensors, shape)
    return np.ndarray(shape, feed.dtype, data)


def _read(feed: Feed, tensors: Sequence[Tensor], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """The same, where the bytes of some are still to be read from shared memory. Raises InvalidRequest as they do."""
    array = np.empty(shape, feed.dtype)
    target = array.reshape(-1).view(np.uint8).data
    start = 0
    for tensor in tensors:
        stop = start + len(tensor)
        if isinstance(tensor, Unread):
            tensor.read(target[start:stop])
        else:
            target[start:stop] = tensor  # type: ignore[assignment]  # no strings
        start = stop
    return array


def _aligned(data: Tensor) -> bytes | memoryview:
    """The same bytes where a kernel expects them to begin.

    Kernels that sum go by address: the first elements up to such an address are summed apart. 50 of ONNX's node tests
    gave other last bits at another offset in the message, that is, with an id of another length (2026-11-24).
    """
    if isinstance(data, Unread):
        raise TypeError
    if not isinstance(data, memoryview):
        return data  # type: ignore[return-value]  # bytes, which Python allocates so; strings do not come here
    if data.nbytes > _COPIED_BYTES and np.frombuffer(data, np.uint8).ctypes.data % _ALIGNMENT_BYTES == 0:
        return data
    return bytes(data)


def _run(
    session: Session, jobs: Sequence[Job], rows: int, counters: Counters, hand_back: HandBack | None
) -> Exception | None:
    bucket = jobs[0].plan.bucket
    traces = [job.trace for job in jobs if job.trace is not None]
    if traces:
        mark_all(traces, Stage.BATCHED, batch_rows=rows)
    began_s = time.monotonic()
    try:
        feeds = _gather_all(bucket, jobs, rows)
        gathered_s = time.monotonic()
        if traces:
            mark_all(traces, Stage.RUN_START)
        arrays = session.run(bucket.output_names, feeds)
        ran_s = time.monotonic()
        if traces:
            mark_all(traces, Stage.RUN_END)
        counters.ran(rows, len(jobs), input_s=gathered_s - began_s, infer_s=ran_s - gathered_s, unix_s=time.time())
        if bucket.has_batch_axis:
            for array in arrays:
                if not array.shape or array.shape[0] != rows:
                    return _wrong_rows(bucket, arrays, rows, jobs[0].plan.signature.model_name)
        outputs = BatchOutputs(arrays, has_batch_axis=bucket.has_batch_axis, began_s=began_s, ran_s=ran_s)
    except Exception as error:  # noqa: BLE001  # a runner survives whatever a batch raises
        return error
    if hand_back is not None and jobs[0].answers_alone:
        hand_back.later(partial(_scatter, jobs, outputs, rows, hand_back.counters))
    else:
        _scatter(jobs, outputs, rows, counters)
    return None


def _scatter(jobs: Sequence[Job], outputs: BatchOutputs, batch_rows: int, counters: Counters) -> None:
    """Answer each job from its rows. The counters are the calling thread's."""
    began_s = time.monotonic()
    start = 0
    for first in range(0, len(jobs), _ANSWERS_AT_ONCE):
        ready: list[tuple[Job, EncodedMessage]] = []
        for job in jobs[first : first + _ANSWERS_AT_ONCE]:
            try:
                message = job.prepare(outputs, start, counters)
            except Exception as error:  # noqa: BLE001  # one answer that cannot be encoded must not cost the others
                _fail(job, error, counters)
            else:
                if message is not None:
                    ready.append((job, message))
            start += job.rows
        for job, message in ready:
            try:
                job.call.reply(message)
            except Exception as error:  # noqa: BLE001  # likewise one that cannot be sent
                _fail(job, error, counters)
    counters.scattered(batch_rows, time.monotonic() - began_s)


def _gather_all(bucket: Bucket, jobs: Sequence[Job], rows: int) -> dict[str, NDArray[np.generic]]:
    if len(jobs) == 1:
        return {
            feed.name: gather(feed, (tensor,), rows, has_batch_axis=bucket.has_batch_axis)
            for feed, tensor in zip(bucket.feeds, jobs[0].tensors, strict=True)
        }
    return {
        feed.name: gather(feed, [job.tensors[index] for job in jobs], rows, has_batch_axis=True)
        for index, feed in enumerate(bucket.feeds)
    }


def _is_readable(job: Job, counters: Counters) -> bool:
    """Whether the data of a job are what it says; fails it where not. What was decoded is not decoded again."""
    try:
        _gather_all(job.plan.bucket, [job], job.rows)
    except Exception as error:  # noqa: BLE001  # its own, whatever it is
        _fail(job, error, counters)
        return False
    return True


def _wrong_rows(bucket: Bucket, arrays: Sequence[NDArray[np.generic]], rows: int, model: str) -> ExecutionFailed:
    name, array = next(
        (name, array)
        for name, array in zip(bucket.output_names, arrays, strict=True)
        if not array.shape or array.shape[0] != rows
    )
    return ExecutionFailed(
        f"model '{model}' gave output '{name}' of shape {list(array.shape)} for a batch of {rows} rows; its first "
        "axis is no batch axis: set max_batch_size: 0 in its config.pbtxt"
    )


def _fail(job: Job, error: Exception, counters: Counters) -> None:
    # Errors that are raised on purpose say all there is to say: the model failed, or an output does not fit its place.
    if not isinstance(error, ServerError):
        _LOG.error("batch failed", exc_info=error)
    job.fail(error, counters.failures)
