"""Runs one batch: gather the inputs, run the session, scatter the outputs. Knows no queue and starts no thread."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from sardonyx_server.engine.requests.lazy_strings import LazyStringSlice
from sardonyx_server.engine.requests.outputs import BatchOutputs
from sardonyx_server.engine.shared_memory.region import DeferredRead
from sardonyx_server.engine.telemetry.counters import Counters
from sardonyx_server.engine.telemetry.tracing import Stage, mark_all
from sardonyx_server.errors import ExecutionFailed, InvalidRequest, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sardonyx_server.engine.batching.batch import Batch
    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.requests.plan import Bucket, Feed, Tensor
    from sardonyx_server.engine.session import Session
    from sardonyx_server.engine.telemetry.failures import Failures
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["ReplyHandoff", "gather", "run_batch"]

_LOG = logging.getLogger("sardonyx.engine")

# Alignment that the allocators of C, Python and numpy guarantee, so that a model sees the same as in a plain program.
_ALIGNMENT_BYTES: Final = 16
# Up to this size, copying is faster than looking up the address.
_COPIED_BYTES: Final = 32 * 1024
# Answers that are encoded before any of them is sent: alternating between the two is harder on the CPU caches.
_ANSWERS_PER_STEP: Final = 16


class ReplyHandoff:
    """Hands the outputs of a batch over to the lane's thread, which sends the answers.

    When a runner sent its own answers, each took a third more time: two busy threads pass the GIL back and forth with
    every answer (2026-11-23).

    Args:
        call_soon: Schedules a task on the lane's thread. Thread-safe, never blocks.
        failures: Counts requests that fail.

    Attributes:
        counters: Counters of the lane's thread, for the answers it sends.
    """

    __slots__ = ("call_soon", "counters")

    def __init__(self, call_soon: Callable[[Callable[[], None]], None], failures: Failures) -> None:
        self.call_soon = call_soon
        self.counters = Counters(failures)


def run_batch(session: Session, batch: Batch, counters: Counters, handoff: ReplyHandoff | None = None) -> None:
    """Run a batch and answer each of its jobs. Blocks while the model runs; raises no Exception.

    If the run fails, its jobs are retried singly, so that only the faulty one fails. Jobs whose data cannot be read are
    found without a run: they fail, and the others stay together.

    Args:
        session: Safe to run on this thread.
        batch: The batch.
        counters: Counters of the calling thread.
        handoff: Sends the answers on the lane's thread; None = the calling thread sends them.
    """
    jobs = batch.jobs
    counters.closed(batch.closed_by)
    error = _run(session, jobs, batch.rows, counters, handoff)
    if isinstance(error, InvalidRequest) and len(jobs) > 1:
        jobs = [job for job in jobs if _is_readable(job, counters)]
        rows = sum(job.rows for job in jobs)
        error = _run(session, jobs, rows, counters, handoff) if jobs else None
    if error is None:
        return
    if len(jobs) == 1:
        _fail(jobs[0], error, counters)
        return
    for job in jobs:
        if (error := _run(session, [job], job.rows, counters, None)) is not None:
            _fail(job, error, counters)


def gather(feed: Feed, tensors: Sequence[Tensor], rows: int, *, has_batch_axis: bool) -> NDArray[np.generic]:
    """Build the array of one input from the tensors of several jobs.

    Args:
        feed: The input.
        tensors: The tensor of each job, in order.
        rows: Total rows of the jobs.
        has_batch_axis: Whether the first axis of the array counts rows.

    Returns:
        Array [rows, *row_shape], read-only, aligned as numpy's own arrays are. For one job it is a view of its bytes if
        they are aligned, else of a copy; for several it is a view of their bytes joined once.

    Raises:
        InvalidRequest: Strings cannot be decoded, or shared memory cannot be read.
    """
    shape = (rows, *feed.row_shape) if has_batch_axis else feed.row_shape
    if feed.dtype.hasobject:
        array = np.empty(rows * feed.row_elements, dtype=object)
        start = 0
        for strings in tensors:
            stop = start + len(strings)
            array[start:stop] = strings.texts() if isinstance(strings, LazyStringSlice) else strings
            start = stop
        return array.reshape(shape)
    try:
        data = _aligned(tensors[0]) if len(tensors) == 1 else b"".join(tensors)  # type: ignore[arg-type]  # no strings
    except TypeError:  # a deferred read; the check costs nothing here
        return _read_deferred(feed, tensors, shape)
    return np.ndarray(shape, feed.dtype, data)


def _read_deferred(feed: Feed, tensors: Sequence[Tensor], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Like :func:`gather`, for tensors of which some are deferred reads from shared memory. Raises InvalidRequest."""
    array = np.empty(shape, feed.dtype)
    target = array.reshape(-1).view(np.uint8).data
    start = 0
    for tensor in tensors:
        stop = start + len(tensor)
        if isinstance(tensor, DeferredRead):
            tensor.read(target[start:stop])
        else:
            target[start:stop] = tensor  # type: ignore[assignment]  # no strings
        start = stop
    return array


def _aligned(data: Tensor) -> bytes | memoryview:
    """Return the same bytes at an aligned address.

    Kernels that sum treat the elements before an aligned address separately. At another offset in the message, as with
    an id of another length, 50 of ONNX's node tests gave other last bits (2026-11-24).
    """
    if isinstance(data, DeferredRead):
        raise TypeError
    if not isinstance(data, memoryview):
        return data  # type: ignore[return-value]  # bytes are allocated aligned; strings do not come here
    if data.nbytes > _COPIED_BYTES and np.frombuffer(data, np.uint8).ctypes.data % _ALIGNMENT_BYTES == 0:
        return data
    return bytes(data)


def _run(
    session: Session, jobs: Sequence[Job], rows: int, counters: Counters, handoff: ReplyHandoff | None
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
    if handoff is not None and jobs[0].answers_call:
        handoff.call_soon(partial(_scatter, jobs, outputs, rows, handoff.counters))
    else:
        _scatter(jobs, outputs, rows, counters)
    return None


def _scatter(jobs: Sequence[Job], outputs: BatchOutputs, batch_rows: int, counters: Counters) -> None:
    """Answer each job from its rows of the outputs. ``counters`` are those of the calling thread."""
    began_s = time.monotonic()
    start = 0
    for first in range(0, len(jobs), _ANSWERS_PER_STEP):
        ready: list[tuple[Job, EncodedMessage]] = []
        for job in jobs[first : first + _ANSWERS_PER_STEP]:
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
    """Return whether the inputs of a job can be read; fails the job if not. Strings are decoded only once."""
    try:
        _gather_all(job.plan.bucket, [job], job.rows)
    except Exception as error:  # noqa: BLE001  # the job's own error, whatever it is
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
    # A ServerError is expected and explains itself: the model failed, or an output does not fit its region.
    if not isinstance(error, ServerError):
        _LOG.error("batch failed", exc_info=error)
    job.fail(error, counters.failures)
