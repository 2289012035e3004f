"""How one model batches and queues: numbers out of ModelConfig and verdict. Pure; the queue applies them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import LoadFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_wire.messages import ModelConfig, ModelQueuePolicy

__all__ = ["BatchPolicy", "LevelPolicy"]

_US_PER_S: Final = 1_000_000
# A config may ask for any number of microseconds, and a thread can wait for 292 years.
_MOST_DELAY_S: Final = 86_400.0
_DELAY: Final = 1  # ModelQueuePolicy.TimeoutAction.DELAY


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPolicy:
    """What holds for the requests of one priority level (ModelConfig's ModelQueuePolicy).

    Attributes:
        timeout_s: Longest wait in the queue; infinity where there is none.
        delay_on_timeout: True: a request past its time-out goes behind all others. False: it is refused.
        allow_timeout_override: Whether a request's own ``timeout`` may shorten the wait.
        max_requests: Most requests that may wait on this level; 0 means no limit.
    """

    timeout_s: float = math.inf
    delay_on_timeout: bool = False
    allow_timeout_override: bool = False
    max_requests: int = 0

    @classmethod
    def of(cls, policy: ModelQueuePolicy) -> LevelPolicy:
        """Take over a ModelQueuePolicy."""
        timeout_us = policy.default_timeout_microseconds
        return cls(
            timeout_s=timeout_us / _US_PER_S if timeout_us else math.inf,
            delay_on_timeout=policy.timeout_action == _DELAY,
            allow_timeout_override=policy.allow_timeout_override,
            max_requests=policy.max_queue_size,
        )

    def wait_s(self, requested_s: float) -> float:
        """Longest wait of a request that asks for at most ``requested_s`` itself (infinity: it asks for nothing)."""
        return min(self.timeout_s, requested_s) if self.allow_timeout_override else self.timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How requests of one model join and wait.

    Attributes:
        has_batch_axis: The first axis of every tensor counts rows, and rows do not influence each other.
        max_rows: Most rows of one run; 1 where requests never join.
        piece_rows: Most rows of a batch while no more waits than fits into one full batch. A runner then works in
            pieces: while one runs, the lane answers the last and takes in the next. A longer queue is cut into full
            batches.
        joins: Whether requests of several callers share a run.
        unread_rows: Most rows of one run that reads its inputs from shared memory, where that is more than of others,
            which must be copied to share a run; 0 = as of others.
        lane_rows: Most rows that the lane runs itself, as long as no runner is at work; 0 = all is for runners.
        widens: Whether requests that come one by one have all cores, so that nothing else runs meanwhile.
        preferred_rows: Ascending sizes to cut batches at; empty means: take all that waits.
        max_delay_s: How long a batch below its preferred size may wait for more; 0 never waits.
        preserve_ordering: Answers leave in the order in which requests came.
        levels: Policy by priority, 1 the highest; one level 1 where priorities are off.
        default_level: The level of a request that names none, or one there is not.
        queue_rows: Most rows that may wait.
        queue_bytes: Most bytes of messages that may wait.
    """

    has_batch_axis: bool
    max_rows: int
    piece_rows: int
    joins: bool
    unread_rows: int = 0
    lane_rows: int = 0
    widens: bool = False
    preferred_rows: tuple[int, ...] = ()
    max_delay_s: float = 0.0
    preserve_ordering: bool = False
    levels: Mapping[int, LevelPolicy]
    default_level: int = 1
    queue_rows: int
    queue_bytes: int

    def shared_rows(self, *, unread: bool) -> int:
        """Most rows of a run that requests share, ``unread`` or not; 1 where they do not."""
        if unread and self.unread_rows:
            return self.unread_rows
        return self.max_rows if self.joins else 1

    @classmethod
    def of(cls, config: ModelConfig, *, queue_rows: int, queue_bytes: int) -> BatchPolicy:
        """Read the policy out of an effective ModelConfig.

        Args:
            config: Completed with what was inferred: ``max_batch_size`` 0 says that there is no batch axis.
            queue_rows: The server's bound of rows that wait for one model.
            queue_bytes: The server's bound of bytes that wait for one model.

        Raises:
            LoadFailed: The dynamic_batching block contradicts itself.
        """
        batching = config.dynamic_batching
        max_rows = max(1, config.max_batch_size)
        preferred = tuple(sorted(set(batching.preferred_batch_size)))
        if preferred and not 0 < preferred[0] <= preferred[-1] <= max_rows:
            raise LoadFailed(
                f"dynamic_batching.preferred_batch_size of model '{config.name}': expected sizes from 1 to "
                f"max_batch_size {config.max_batch_size}, got {list(preferred)}"
            )
        count = batching.priority_levels
        if count and not 1 <= batching.default_priority_level <= count:
            raise LoadFailed(
                f"dynamic_batching.default_priority_level of model '{config.name}': expected 1 to priority_levels "
                f"{count}, got {batching.default_priority_level}"
            )
        default = LevelPolicy.of(batching.default_queue_policy)
        levels = {
            level: LevelPolicy.of(batching.priority_queue_policy[level])
            if level in batching.priority_queue_policy
            else default
            for level in range(1, max(1, count) + 1)
        }
        return cls(
            has_batch_axis=config.max_batch_size > 0,
            max_rows=max_rows,
            piece_rows=max_rows,
            joins=config.HasField("dynamic_batching") and max_rows > 1,
            preferred_rows=preferred,
            max_delay_s=min(batching.max_queue_delay_microseconds / _US_PER_S, _MOST_DELAY_S),
            preserve_ordering=batching.preserve_ordering,
            levels=levels,
            default_level=batching.default_priority_level if count else 1,
            queue_rows=queue_rows,
            queue_bytes=queue_bytes,
        )
