"""The allowance of a load: what the cores permit, if a request costs no more than its row and a bare echo. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["ROW_SHARE", "allowance"]

ROW_SHARE: Final = 0.25
"""Time for finding what a row costs, of that for a load: costs in-process are steadier, and need less."""


def allowance(cores: int, row_cpu_s: float, echo_cpu_s: float) -> float:
    """Requests a second that the cores permit.

    Args:
        cores: Shared by server and load generator.
        row_cpu_s: CPU seconds of one row in-process.
        echo_cpu_s: CPU seconds of one bare echo, load generator included.
    """
    return cores / (row_cpu_s + echo_cpu_s)
