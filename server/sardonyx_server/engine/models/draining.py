"""Drains versions that were replaced or unloaded, each on its own thread. Knows no registry.

A long run delays only the drain of its own version, not the loading of other models nor the drain of other versions.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.priority import normal_priority_executor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.running.model import Model

__all__ = ["Drainer"]

_LOG = logging.getLogger("sardonyx.models")

# Each drain keeps a session in memory. Continuous reloads of a model that does not finish wait here instead of filling
# it.
_MAX_CONCURRENT: Final = 32
# Size of a model from which freed memory is released: trimming the heap for a smaller one is not worth its cost.
_LARGE_BYTES: Final = 16 * 1024 * 1024


class Drainer:
    """Drainer versions in the background.

    Args:
        timeout_s: How long a version may take to finish its admitted requests; then its runs are terminated.
        release_memory: Returns freed memory to the operating system. Blocks; called on a thread of normal priority.

    Attributes:
        has_memory_to_release: Whether a large version was drained since memory was last released. Only for the thread
            that calls :meth:`begin`.
    """

    def __init__(self, timeout_s: float, release_memory: Callable[[], None] = lambda: None) -> None:
        self.has_memory_to_release = False
        self._release_memory = release_memory
        self._timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(_MAX_CONCURRENT)
        self._lock = threading.Lock()
        self._in_progress: dict[Future[bool], str] = {}
        # Runs for callers must not inherit the low priority of the loader's thread.
        self._normal_priority_executor = normal_priority_executor()

    def begin(self, model: Model) -> Future[bool]:
        """Start to drain a version that the registry no longer has. Blocks only while 32 drains are in progress.

        Returns:
            Completed when the version is closed: True if it answered all admitted requests.
        """
        self._slots.acquire()
        self.has_memory_to_release = self.has_memory_to_release or model.info.file_bytes >= _LARGE_BYTES
        closed: Future[bool] = Future()
        with self._lock:
            self._in_progress[closed] = model.name
        thread = threading.Thread(
            target=self._drain, args=(model, closed), name=f"drain-{model.name}-{model.version}", daemon=True
        )
        self._normal_priority_executor.submit(thread.start).result()
        return closed

    def release_memory_if_idle(self) -> None:
        """Release the memory of large versions, unless one is still draining. Blocks for some milliseconds.

        It runs on a thread of normal priority: one of low priority would hold the allocator's lock while it waits for
        a core.
        """
        with self._lock:
            if self._in_progress:
                return
        self.has_memory_to_release = False
        self._normal_priority_executor.submit(self._release_memory).result()

    def of(self, name: str) -> list[Future[bool]]:
        """Return the drains in progress of a model's versions."""
        with self._lock:
            return [closed for closed, model in self._in_progress.items() if model == name]

    def join(self, timeout_s: float) -> bool:
        """Wait for all drains in progress.

        Returns:
            Whether they ended in time, and every version answered all admitted requests.
        """
        with self._lock:
            in_progress = list(self._in_progress)
        done, late = wait(in_progress, timeout_s)
        return not late and all(closed.result() for closed in done)

    def _drain(self, model: Model, closed: Future[bool]) -> None:
        """Body of a drain thread."""
        finished = False
        try:
            finished = model.drain(self._timeout_s)
            if not finished:
                _LOG.error(
                    "an old version did not finish in time",
                    extra={"model": model.name, "version": model.version, "timeout_s": self._timeout_s},
                )
        except Exception:  # noqa: BLE001  # whoever waits for the drain must be told of its end
            _LOG.exception("bug: a version could not be drained", extra={"model": model.name})
        finally:
            closed.set_result(finished)
            with self._lock:
                del self._in_progress[closed]
            self._slots.release()
