"""The allowance of a load: an upper bound of its rate, from the CPU cost of one row and of one bare echo. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["ROW_SHARE", "allowance"]

ROW_SHARE: Final = 0.25
"""Time for measuring the cost of a row, as a share of the time of a load: in-process costs are steadier."""


def allowance(cores: int, row_cpu_s: float, echo_cpu_s: float) -> float:
    """Upper bound of requests a second.

    Args:
        cores: Shared by server and load generator.
        row_cpu_s: CPU seconds of one row in-process.
        echo_cpu_s: CPU seconds of one bare echo, load generator included.
    """
    return cores / (row_cpu_s + echo_cpu_s)
