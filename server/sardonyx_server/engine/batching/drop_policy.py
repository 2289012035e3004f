"""Load shedding at dequeue: which jobs are dropped because their answer would come too late, and with which error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.errors import Cancelled, DeadlineExceeded, QueueTimeout, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.batching.job import Job

__all__ = ["drop_reason"]


def drop_reason(
    job: Job, now: float, ready_s: float, model_name: str, retry_after_s: Callable[[], float]
) -> ServerError | None:
    """Return the error with which a job is dropped, or None if it shall run.

    Args:
        job: The job at the head of the queue.
        now: On the queue's clock.
        ready_s: Estimated end of a batch that is taken now, on the same clock.
        model_name: For messages.
        retry_after_s: Returns the retry delay to advise.
    """
    # The deadline first: a call whose deadline has passed may already count as cancelled.
    if job.deadline_s <= now:
        return DeadlineExceeded(
            f"the deadline passed after {now - job.arrived_s:.3f} s in the queue of model '{model_name}'; "
            "the model did not run"
        )
    if job.call.cancelled:
        return Cancelled("the caller cancelled the request before it ran")
    if job.deadline_s <= ready_s:
        return DeadlineExceeded(
            f"after {now - job.arrived_s:.3f} s in the queue of model '{model_name}' the deadline is in "
            f"{job.deadline_s - now:.3f} s and a run may take {ready_s - now:.3f} s; the model did not run"
        )
    if job.expires_s <= now:
        return QueueTimeout(
            f"the request waited {now - job.arrived_s:.3f} s in the queue of model '{model_name}', "
            "longer than its queue policy allows; the model did not run",
            retry_after_s=retry_after_s(),
        )
    return None
