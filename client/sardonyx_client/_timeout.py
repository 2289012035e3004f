"""The one thing a call can say of time beside a number of seconds: that the client's own limit holds."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["CLIENT_DEFAULT", "Timeout", "TimeoutDefault"]


class TimeoutDefault(Enum):
    """A type of one value, so that type checkers can tell it from None, which means no limit."""

    CLIENT_DEFAULT = "the client's timeout_s"


CLIENT_DEFAULT: Final = TimeoutDefault.CLIENT_DEFAULT
Timeout = float | None | TimeoutDefault
"""Seconds from now until the call is given up, all attempts included; None = no limit."""
