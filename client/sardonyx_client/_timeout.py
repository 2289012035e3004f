"""Timeouts as arguments of calls, and the deadline of an operation that makes several calls."""

from __future__ import annotations

import math
import time
from enum import Enum
from numbers import Real
from typing import Final

from sardonyx_client._errors import InvalidArgument

__all__ = [
    "CLIENT_DEFAULT",
    "MAX_RETRY_AFTER_S",
    "Deadline",
    "Timeout",
    "TimeoutDefault",
    "check_default_timeout",
    "resolve_timeout_s",
]


class TimeoutDefault(Enum):
    """The default: the client's own timeout applies.

    An enum of one value, so that type checkers distinguish it from None, which means no limit.
    """

    CLIENT_DEFAULT = "the client's timeout_s"


CLIENT_DEFAULT: Final = TimeoutDefault.CLIENT_DEFAULT
MAX_RETRY_AFTER_S: Final = 60.0
"""The longest retry delay that a call without a timeout accepts from the server; above it, the call fails.

Equal to the default timeout. Otherwise a single response could block a caller for days.
"""
# Longer timeouts are treated as no limit: grpcio counts nanoseconds in 64 bits, and a deadline 300 years ahead
# overflows.
_ENDLESS_S: Final = 1e9
Timeout = float | None | TimeoutDefault
"""Seconds until the call fails, all attempts included; None = no limit."""


def check_default_timeout(timeout_s: object) -> None:
    """Check the default timeout of a client.

    Raises:
        InvalidArgument: It is neither None nor a number above 0.
    """
    if timeout_s is None:
        return
    # Written this way to reject nan too.
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, Real) or not float(timeout_s) > 0:
        raise InvalidArgument(f"timeout_s: expected seconds above 0, or None for no limit, got {timeout_s!r}")


def resolve_timeout_s(timeout: Timeout, default_s: float | None) -> float | None:
    """Resolve a call's ``timeout_s`` argument to seconds; None = no limit.

    Raises:
        InvalidArgument: It is nan.
    """
    seconds = default_s if isinstance(timeout, TimeoutDefault) else timeout
    if seconds is None or seconds < _ENDLESS_S:
        return seconds
    if math.isnan(seconds):
        raise InvalidArgument(f"timeout_s: expected seconds, or None for no limit, got {seconds!r}")
    return None


class Deadline:
    """The deadline of an operation that makes several calls.

    Args:
        seconds: From now; None = no limit.
    """

    __slots__ = ("_at_s",)

    def __init__(self, seconds: float | None) -> None:
        self._at_s = None if seconds is None else time.monotonic() + seconds

    @property
    def remaining_s(self) -> float | None:
        """Remaining seconds, 0 if the deadline has passed; None = no limit."""
        return None if self._at_s is None else max(0.0, self._at_s - time.monotonic())
