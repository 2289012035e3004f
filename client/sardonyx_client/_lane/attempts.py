"""When a failed call is made again: the rules of gRPC's retries (its proposal A6), by the numbers of ``Retry``. No I/O.

The channel's own retries cannot be used for what fails on the lane. Its core counts attempts and failures of the
channel alone: it would make one attempt too many, and its budget would not get back what calls on the lane succeed in.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_client._timeout import LONGEST_ADVICE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._lane.failure import LaneFailure
    from sardonyx_client._options import Retry

__all__ = ["Attempts", "Budget"]

# As in gRPC's core.
_JITTER: Final = 0.2
_MS_PER_S: Final = 1000


class Budget:
    """What calls may spend on further attempts. Threads share one: a count lost between two of them does no harm.

    Args:
        retry: None = no call is tried again.
    """

    __slots__ = ("_enough", "_per_success", "_retry", "_tokens")

    def __init__(self, retry: Retry | None) -> None:
        self._retry = retry
        self._tokens = 0.0 if retry is None else float(retry.budget)
        self._enough = self._tokens / 2
        self._per_success = 0.0 if retry is None else retry.tokens_per_success

    def succeeded(self) -> None:
        """A call was answered well."""
        retry = self._retry
        if retry is not None and self._tokens < retry.budget:
            self._tokens = min(float(retry.budget), self._tokens + self._per_success)

    def spend(self) -> bool:
        """An attempt failed; whether there may be another."""
        self._tokens = max(0.0, self._tokens - 1)
        return self._tokens > self._enough

    def attempts(self, *, endless: bool) -> Attempts:
        """For one call, of which the first attempt failed. ``endless``: it has no limit of time."""
        return Attempts(self, self._retry, endless=endless)


class Attempts:
    """The attempts of one call.

    Args:
        budget: Shared by all calls.
        retry: None = there is one attempt.
        endless: The call has no limit of time: then the server's advice to come back much later ends it.
        jitter: Gives a number from 0 to below 1.

    Attributes:
        failed: Attempts that the server may have seen.
    """

    def __init__(
        self,
        budget: Budget,
        retry: Retry | None,
        *,
        endless: bool,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._budget = budget
        self._retry = retry
        self._endless = endless
        self._jitter = jitter
        self._pause_s = 0.0 if retry is None else retry.first_pause_s
        self._refused = False
        self.failed = 0

    def pause_s(self, failure: LaneFailure) -> float | None:
        """After a failed attempt: seconds to wait before the next; None where there is none."""
        if failure.unprocessed and not self._refused:
            # The server has not seen it, so it is no attempt. Once: a server that refuses all would be asked for ever.
            self._refused = True
            return 0.0
        self.failed += 1
        retry, pushback_ms = self._retry, failure.pushback_ms
        if retry is None:
            return None
        pushed_back = pushback_ms is not None and pushback_ms < 0
        if failure.code() is not grpc.StatusCode.UNAVAILABLE and not pushed_back:
            return None
        enough = self._budget.spend()
        if not enough or pushed_back or failure.committed or self.failed >= retry.attempts:
            return None
        if pushback_ms is not None:
            self._pause_s = retry.first_pause_s
            advice_s = pushback_ms / _MS_PER_S
            return None if self._endless and advice_s > LONGEST_ADVICE_S else advice_s
        pause_s = self._pause_s * (1 - _JITTER + 2 * _JITTER * self._jitter())
        self._pause_s = min(self._pause_s * retry.factor, retry.longest_pause_s)
        return pause_s
