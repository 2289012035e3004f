"""Versions that were taken out and finish what they had admitted, each on a thread of its own. Knows no registry.

A run that takes long holds up its own drain alone: neither the loading of other models nor the drain of another
version of the same one.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.priority import normal_priority

if TYPE_CHECKING:
    from sardonyx_server.engine.running.model import Model

__all__ = ["Drains"]

_LOG = logging.getLogger("sardonyx.models")

# Each keeps a session in memory. A storm of reloads of a model that does not finish waits here, instead of filling it.
_AT_ONCE: Final = 32


class Drains:
    """Drains versions in the background.

    Args:
        timeout_s: How long a version may take to finish what it had admitted; then its runs are ended.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._under_way: dict[Future[bool], str] = {}
        # What still runs for callers must not inherit the low priority of the thread that loads.
        self._normal_priority = normal_priority()

    def begin(self, model: Model) -> Future[bool]:
        """Drain a version that no request finds any more. Does not block, unless 32 drains are under way.

        Returns:
            Done when the version is closed: True where it finished all it had admitted.
        """
        self._room.acquire()
        closed: Future[bool] = Future()
        with self._lock:
            self._under_way[closed] = model.name
        thread = threading.Thread(
            target=self._drain, args=(model, closed), name=f"drain-{model.name}-{model.version}", daemon=True
        )
        self._normal_priority.submit(thread.start).result()
        return closed

    def of(self, name: str) -> list[Future[bool]]:
        """The drains of a model's versions that are under way."""
        with self._lock:
            return [closed for closed, model in self._under_way.items() if model == name]

    def join(self, timeout_s: float) -> bool:
        """Wait for all that are under way.

        Returns:
            Whether they ended in time, and every version finished all it had admitted.
        """
        with self._lock:
            under_way = list(self._under_way)
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
                del self._under_way[closed]
            self._room.release()
