"""Batching and queue policy of one model, as read from its ModelConfig and the probe's verdict. Values only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import LoadFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_wire.messages import ModelConfig, ModelQueuePolicy

__all__ = ["BatchPolicy", "QueuePolicy"]

_US_PER_S: Final = 1_000_000
# Cap of the queue delay: a config may give any number of microseconds, more than a lock can wait for (292 years).
_MAX_DELAY_S: Final = 86_400.0
_DELAY: Final = 1  # ModelQueuePolicy.TimeoutAction.DELAY


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """Queue policy of one priority level (``ModelQueuePolicy`` of the ModelConfig).

    Attributes:
        timeout_s: Queue timeout; infinity where there is none.
        delay_on_timeout: True: a request past its timeout is served after all others. False: it is rejected.
        allow_timeout_override: Whether a request's own ``timeout`` may shorten the queue timeout.
        max_requests: Most requests that may wait on this level; 0 means no limit.
    """

    timeout_s: float = math.inf
    delay_on_timeout: bool = False
    allow_timeout_override: bool = False
    max_requests: int = 0

    @classmethod
    def of(cls, policy: ModelQueuePolicy) -> QueuePolicy:
        """Convert a ModelQueuePolicy."""
        timeout_us = policy.default_timeout_microseconds
        return cls(
            timeout_s=timeout_us / _US_PER_S if timeout_us else math.inf,
            delay_on_timeout=policy.timeout_action == _DELAY,
            allow_timeout_override=policy.allow_timeout_override,
            max_requests=policy.max_queue_size,
        )

    def wait_s(self, requested_s: float) -> float:
        """Queue timeout of a request whose own ``timeout`` is ``requested_s`` (infinity: it has none)."""
        return min(self.timeout_s, requested_s) if self.allow_timeout_override else self.timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """Batching and queue limits of one model.

    Attributes:
        has_batch_axis: Whether the first axis of every tensor is the batch axis, with rows independent of each other.
        max_rows: Most rows of one run; 1 where requests are never batched.
        microbatch_rows: Most rows of a batch while the queue holds no more than one full batch. Smaller batches are
            pipelined: while one runs, the lane sends the answers of the last and receives the next. A longer queue is
            served in full batches.
        dynamic_batching: Whether requests of several callers share a run.
        deferred_read_rows: Most rows of a run whose inputs are deferred reads from shared memory, where that is more
            than the limit of other runs, whose inputs must be copied to be batched; 0 = the same limit.
        lane_rows: Most rows that the lane runs itself while no runner is busy; 0 = runners run all batches.
        latency_mode: Whether requests that arrive one at a time run on all cores, exclusively.
        preferred_rows: Preferred batch sizes, ascending; empty = take all pending jobs that fit.
        max_delay_s: How long a batch below its preferred size may wait for more requests; 0 = never.
        preserve_ordering: Whether answers are sent in the order in which requests arrived.
        levels: Queue policy by priority, 1 the highest; only level 1 where priorities are off.
        default_level: Level of a request that names none, or one that does not exist.
        queue_rows: Most rows that may wait.
        queue_bytes: Most bytes of messages that may wait.
    """

    has_batch_axis: bool
    max_rows: int
    microbatch_rows: int
    dynamic_batching: bool
    deferred_read_rows: int = 0
    lane_rows: int = 0
    latency_mode: bool = False
    preferred_rows: tuple[int, ...] = ()
    max_delay_s: float = 0.0
    preserve_ordering: bool = False
    levels: Mapping[int, QueuePolicy]
    default_level: int = 1
    queue_rows: int
    queue_bytes: int

    def batch_rows_limit(self, *, deferred_reads: bool) -> int:
        """Most rows of a batch, given whether its inputs are deferred reads; 1 where requests are never batched."""
        if deferred_reads and self.deferred_read_rows:
            return self.deferred_read_rows
        return self.max_rows if self.dynamic_batching else 1

    @classmethod
    def of(cls, config: ModelConfig, *, queue_rows: int, queue_bytes: int) -> BatchPolicy:
        """Read the policy out of an effective ModelConfig.

        Args:
            config: Completed with inferred values: ``max_batch_size`` 0 means that there is no batch axis.
            queue_rows: The server's limit on pending rows of one model.
            queue_bytes: The server's limit on pending message bytes of one model.

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
        default = QueuePolicy.of(batching.default_queue_policy)
        levels = {
            level: QueuePolicy.of(batching.priority_queue_policy[level])
            if level in batching.priority_queue_policy
            else default
            for level in range(1, max(1, count) + 1)
        }
        return cls(
            has_batch_axis=config.max_batch_size > 0,
            max_rows=max_rows,
            microbatch_rows=max_rows,
            dynamic_batching=config.HasField("dynamic_batching") and max_rows > 1,
            preferred_rows=preferred,
            max_delay_s=min(batching.max_queue_delay_microseconds / _US_PER_S, _MAX_DELAY_S),
            preserve_ordering=batching.preserve_ordering,
            levels=levels,
            default_level=batching.default_priority_level if count else 1,
            queue_rows=queue_rows,
            queue_bytes=queue_bytes,
        )
