"""What tests ask of a queue, over and over."""

from __future__ import annotations

from collections.abc import Sequence

from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.job import Job
from sardonyx_server.engine.batching.queue import BatchQueue

__all__ = ["is_idle", "put_all", "take"]


def put_all(queue: BatchQueue, jobs: Sequence[Job]) -> None:
    """Admit jobs one by one."""
    for job in jobs:
        queue.put((job,))


def take(queue: BatchQueue) -> Batch:
    """The batch that is there."""
    batch = queue.take(wait=False)
    assert batch is not None
    return batch


def is_idle(queue: BatchQueue, budget: ByteBudget | None = None) -> bool:
    """Whether nothing waits and nothing is accounted for."""
    levels = all(
        not level.requests and not level.buckets and not level.delayed for level in queue._pending.levels.values()
    )
    return levels and not queue.rows and not queue.message_bytes and not (budget and budget.used_bytes)
