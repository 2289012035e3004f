"""What a queue gives out and a runner runs: jobs together, and why no more of them."""

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
        jobs: At least one, in the order in which they came.
        rows: Their rows in all.
        closed_by: Why no more joined: ``full``, ``drained``, ``preferred``, ``delay``, ``shared``
            (other runners were free) or ``alone`` (requests of this model never join).
        wide: A single request that has all cores: no other batch is given out before it is over.
    """

    __slots__ = ("closed_by", "jobs", "rows", "wide")

    def __init__(self, jobs: list[Job], rows: int, closed_by: str) -> None:
        self.jobs = jobs
        self.rows = rows
        self.closed_by = closed_by
        self.wide = False
