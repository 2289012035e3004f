"""Waiting for what other threads do, with a bound."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND_S = 60.0


def until(holds: Callable[[], bool]) -> None:
    """Wait, with a bound."""
    pause = threading.Event()
    for _ in range(int(BOUND_S * 1000)):
        if holds():
            return
        pause.wait(0.001)
    raise AssertionError("it never came to hold")
