"""Versions that were taken out and finish what they had admitted, each on a thread of its own. Knows no registry.

A run that takes long holds up its own drain alone: neither the loading of other models nor the drain of another
version of the same one.
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

# Each keeps a session in memory. A storm of reloads of a model that does not finish waits here, instead of filling it.
_AT_ONCE: Final = 32
# What a smaller model leaves behind in the C library is not worth a look at all of it.
_LARGE_BYTES: Final = 16 * 1024 * 1024


class Drainer:
    """Drainer versions in the background.

    Args:
        timeout_s: How long a version may take to finish what it had admitted; then its runs are ended.
        give_back: Gives freed memory back to the system. Blocks; called on a thread of normal priority.

    Attributes:
        leaves_much: Whether a large version was drained since memory was last given back. For the thread that calls
            :meth:`begin`, and no other.
    """

    def __init__(self, timeout_s: float, give_back: Callable[[], None] = lambda: None) -> None:
        self.leaves_much = False
        self._give_back = give_back
        self._timeout_s = timeout_s
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._in_flight: dict[Future[bool], str] = {}
        # What still runs for callers must not inherit the low priority of the thread that loads.
        self._normal_priority_executor = normal_priority_executor()

    def begin(self, model: Model) -> Future[bool]:
        """Drain a version that no request finds any more. Does not block, unless 32 drains are under way.

        Returns:
            Done when the version is closed: True where it finished all it had admitted.
        """
        self._room.acquire()
        self.leaves_much = self.leaves_much or model.info.file_bytes >= _LARGE_BYTES
        closed: Future[bool] = Future()
        with self._lock:
            self._in_flight[closed] = model.name
        thread = threading.Thread(
            target=self._drain, args=(model, closed), name=f"drain-{model.name}-{model.version}", daemon=True
        )
        self._normal_priority_executor.submit(thread.start).result()
        return closed

    def give_back_memory(self) -> None:
        """Give back what large versions left, unless one is still draining. Blocks for some milliseconds.

        Whoever has a low priority does not do it: it would keep the others from memory while it waits for a core.
        """
        with self._lock:
            if self._in_flight:
                return
        self.leaves_much = False
        self._normal_priority_executor.submit(self._give_back).result()

    def of(self, name: str) -> list[Future[bool]]:
        """The drains of a model's versions that are under way."""
        with self._lock:
            return [closed for closed, model in self._in_flight.items() if model == name]

    def join(self, timeout_s: float) -> bool:
        """Wait for all that are under way.

        Returns:
            Whether they ended in time, and every version finished all it had admitted.
        """
        with self._lock:
            under_way = list(self._in_flight)
        done, late = wait(under_way, timeout_s)
        return not late and all(closed.result() for closed in done)

    def _drain(self, model: Model, closed: Future[bool]) -> None:
        """Body of a drain's thread."""
        finished = False
        try:
            finished = model.drain(self._timeout_s)
            if not finished:
                _LOG.error(
                    "an old version did not finish in time",
                    extra={"model": model.name, "version": model.version, "timeout_s": self._timeout_s},
                )
        except Exception:  # noqa: BLE001  # whoever waits for the drain must hear of its end
            _LOG.exception("bug: a version could not be drained", extra={"model": model.name})
        finally:
            closed.set_result(finished)
            with self._lock:
                del self._in_flight[closed]
            self._room.release()
