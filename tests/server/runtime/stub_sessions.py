"""A session that can be measured: each of its runs moves a clock, or raises."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FEEDS = {"x": np.zeros(1, np.float32)}


class StubSession:
    """Counts its runs; each moves the clock, some raise."""

    def __init__(self, threads: int = 1, on_run: Callable[[], None] = lambda: None) -> None:
        self.outputs = (TensorSpec(name="y", datatype="FP32", shape=(-1,)),)
        self.threads = threads
        self.runs = 0
        self.closed = 0
        self._on_run = on_run
        self._lock = threading.Lock()

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Nothing comes out."""
        assert list(output_names) == ["y"]
        assert feeds is FEEDS
        with self._lock:
            self.runs += 1
            self._on_run()
        return []

    def close(self) -> None:
        """Counted."""
        self.closed += 1


class ThreadClock:
    """Seconds that pass for each thread by itself, as on a machine with a core for each.

    Args:
        steps_s: What a run takes on the first, second, ... thread that runs; the last of them for all further ones.
    """

    def __init__(self, *steps_s: float) -> None:
        self._steps_s = list(steps_s)
        self._local = threading.local()

    def tick(self) -> None:
        """A run ends on this thread."""
        if not hasattr(self._local, "step_s"):
            self._local.step_s = self._steps_s.pop(0) if len(self._steps_s) > 1 else self._steps_s[0]
        self._local.now_s = self() + self._local.step_s

    def __call__(self) -> float:
        """The time of this thread."""
        return getattr(self._local, "now_s", 0.0)
