"""Formats values as text: rates, durations, sizes, percentages."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["bytes_", "latency", "milliseconds", "percent", "rate", "short", "significant"]

_DIGITS: Final = 3
_SUFFIXES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY: Final = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))


def significant(value: float) -> str:
    """Three significant digits, but all digits before the point: 0.0123, 1.23, 12.3, 1,234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(_DIGITS - 1 - math.floor(math.log10(abs(value))), 0)}f}"


def short(value: float) -> str:
    """For a tick: 0.5, 250, 2.5k, 10M."""
    for size, suffix in _SUFFIXES:
        if abs(value) >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


def rate(value_per_s: float) -> str:
    """Requests a second: 12,345/s; three digits below 100."""
    return f"{value_per_s:,.0f}/s" if value_per_s >= 100 else f"{significant(value_per_s)}/s"  # noqa: PLR2004  # digits


def milliseconds(value_ms: float) -> str:
    """A latency in a table: 1.23 ms."""
    return f"{significant(value_ms)} ms"


def latency(value_ms: float) -> str:
    """A latency at an axis, in the unit that keeps it short: 200 us, 5 ms, 2 s."""
    if value_ms == 0:
        return "0"
    for size, unit in ((1e3, "s"), (1.0, "ms")):
        if value_ms >= size * (1 - 1e-9):
            return f"{value_ms / size:.4g} {unit}"
    return f"{value_ms * 1e3:.4g} µs"


def percent(share: float) -> str:
    """A share of 1: 12.3 %."""
    return f"{share * 100:.3g} %"


def bytes_(count: float) -> str:
    """An amount of memory: 117 MiB."""
    for size, unit in _BINARY:
        if abs(count) >= size:
            return f"{significant(count / size)} {unit}"
    return f"{count:.0f} B"
