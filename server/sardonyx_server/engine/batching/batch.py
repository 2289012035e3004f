"""A batch: jobs that one run executes together, and why the batch was closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_server.engine.batching.job import Job

__all__ = ["CLOSED_BY", "Batch"]

CLOSED_BY: Final = ("full", "drained", "preferred", "delay", "shared", "alone")
"""Every value of ``Batch.closed_by``."""


class Batch:
    """Jobs of one bucket that run together.

    Attributes:
        jobs: At least one, in order of arrival.
        rows: Total rows.
        closed_by: Why no further job was added. ``full``: the row limit was reached. ``drained``: no more jobs waited.
            ``preferred``: a preferred batch size was reached. ``delay``: the queue delay was over. ``shared``: the rest
            was left to other idle runners. ``alone``: requests of this model are never batched.
        exclusive: Whether this is a single request that runs on all cores, in the latency session: no other batch of
            the model starts before it has finished.
    """

    __slots__ = ("closed_by", "exclusive", "jobs", "rows")

    def __init__(self, jobs: list[Job], rows: int, closed_by: str) -> None:
        self.jobs = jobs
        self.rows = rows
        self.closed_by = closed_by
        self.exclusive = False
