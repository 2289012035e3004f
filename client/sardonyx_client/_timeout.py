"""What a call can say of time, and one limit for a call that takes several steps."""

from __future__ import annotations

import math
import time
from enum import Enum
from numbers import Real
from typing import Final

from sardonyx_client._errors import InvalidArgument

__all__ = [
    "CLIENT_DEFAULT",
    "LONGEST_ADVICE_S",
    "Deadline",
    "Timeout",
    "TimeoutDefault",
    "check_default",
    "seconds_of",
]


class TimeoutDefault(Enum):
    """That the client's own limit holds.

    A type of one value, so that type checkers can tell it from None, which means no limit.
    """

    CLIENT_DEFAULT = "the client's timeout_s"


CLIENT_DEFAULT: Final = TimeoutDefault.CLIENT_DEFAULT
LONGEST_ADVICE_S: Final = 60.0
"""The longest a call without a limit waits because the server says when to try again; it fails instead.

As long as the default limit of a call. Otherwise one answer of a server could hold a caller for days.
"""
# Longer than that is no limit: grpc counts nanoseconds in 64 bits, and takes the end of 300 years for one that is over.
_ENDLESS_S: Final = 1e9
Timeout = float | None | TimeoutDefault
"""Seconds from now until the call is given up, all attempts included; None = no limit."""


def check_default(timeout_s: object) -> None:
    """Refuse what cannot be the limit of a client's calls.

    Raises:
        InvalidArgument: It is neither None nor a number above 0.
    """
    if timeout_s is None:
        return
    # Written so that nan is refused too.
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, Real) or not float(timeout_s) > 0:
        raise InvalidArgument(f"timeout_s: expected seconds above 0, or None for no limit, got {timeout_s!r}")


def seconds_of(timeout: Timeout, default_s: float | None) -> float | None:
    """What a call's argument means, in seconds; None = no limit.

    Raises:
        InvalidArgument: It is no number.
    """
    seconds = default_s if isinstance(timeout, TimeoutDefault) else timeout
    if seconds is None or seconds < _ENDLESS_S:
        return seconds
    if math.isnan(seconds):
        raise InvalidArgument(f"timeout_s: expected seconds, or None for no limit, got {seconds!r}")
    return None


class Deadline:
    """The end of a call that makes several: begins when it is made.

    Args:
        seconds: From now; None = no limit.
    """

    __slots__ = ("_at_s",)

    def __init__(self, seconds: float | None) -> None:
        self._at_s = None if seconds is None else time.monotonic() + seconds

    @property
    def left_s(self) -> float | None:
        """Seconds from now, 0 where it is over; None = no limit."""
        return None if self._at_s is None else max(0.0, self._at_s - time.monotonic())
