"""Watches a repository and reports models that appear, vanish or change, once they are stable.

Changes are detected by scanning the disk every ``poll_interval_s``. File system events (``watchfiles``) only trigger
the next scan earlier; without them, as on network disks, changes are detected later but just as reliably.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.repository.mounts import is_network_filesystem
from sardonyx_server.repository.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sardonyx_server.repository.spec import BrokenModel, ModelSpec

__all__ = ["ChangeDebouncer", "RepositoryWatcher"]

# Quiet time after which file system events are handed on, and the longest time to collect them.
_EVENT_STEP_MS: Final = 200
_EVENT_DEBOUNCE_MS: Final = 1_600
_JOIN_S: Final = 5.0


class ChangeDebouncer:
    """Reports a change only after it has been the same in two scans at least ``stable_s`` apart.

    Not thread-safe. Times are in seconds of any monotonic clock.

    Args:
        known: The models already known to the observer.
        stable_s: How long a model must stay unchanged.
    """

    __slots__ = ("_known", "_pending", "_stable_s")

    def __init__(self, known: Mapping[str, ModelSpec | BrokenModel], stable_s: float) -> None:
        self._known = dict(known)
        self._stable_s = stable_s
        # name -> (its state, first seen at)
        self._pending: dict[str, tuple[object, float]] = {}

    @property
    def known(self) -> Mapping[str, ModelSpec | BrokenModel]:
        """A copy of the models as reported so far."""
        return dict(self._known)

    def update(self, found: Mapping[str, ModelSpec | BrokenModel], now_s: float) -> bool:
        """Process a scan. Returns whether changes have become stable; they are then part of ``known``."""
        settled = False
        pending: dict[str, tuple[object, float]] = {}
        for name in self._known.keys() | found.keys():
            identity = _identity(found.get(name))
            if identity == _identity(self._known.get(name)):
                continue
            seen, since_s = self._pending.get(name, (None, now_s))
            if name not in self._pending or seen != identity:
                pending[name] = (identity, now_s)
            elif now_s - since_s < self._stable_s:
                pending[name] = (seen, since_s)
            else:
                settled = True
                if name in found:
                    self._known[name] = found[name]
                else:
                    del self._known[name]
        self._pending = pending
        return settled

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until the next scan can confirm a change; None if there is none pending."""
        if not self._pending:
            return None
        return max(0.0, min(since_s for _, since_s in self._pending.values()) + self._stable_s - now_s)


class RepositoryWatcher:
    """Watches paths until it is stopped.

    Args:
        paths: As for ``scan``.
        poll_interval_s: Longest interval between two scans.
        stable_s: How long a model must stay unchanged before its change is reported.
        polling: Do not use file system events. They are not used either if a path is on a network disk or not a folder,
            or if ``watchfiles`` does not work.
        look: Scans the disk; never raises.
        clock: Monotonic time in seconds.
    """

    __slots__ = ("_clock", "_look", "_paths", "_poll_interval_s", "_polling_reason", "_stable_s", "_stop", "_wake")

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        poll_interval_s: float,
        stable_s: float = 1.0,
        polling: bool = False,
        look: Callable[[Sequence[Path]], Mapping[str, ModelSpec | BrokenModel]] = scan,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = tuple(paths)
        self._poll_interval_s = poll_interval_s
        self._stable_s = stable_s
        self._look = look
        self._clock = clock
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._polling_reason = "asked for" if polling else _no_events_reason(self._paths)

    @property
    def polling_reason(self) -> str:
        """Why changes are detected by polling only; "" if file system events are used as well."""
        return self._polling_reason

    def run(
        self,
        known: Mapping[str, ModelSpec | BrokenModel],
        on_change: Callable[[Mapping[str, ModelSpec | BrokenModel]], None],
    ) -> None:
        """Watch until ``stop``. Blocks; meant for a thread of its own.

        Args:
            known: The scan that the caller started from.
            on_change: Called on this thread with all current models when some have changed. No scan runs meanwhile. It
                must not raise; otherwise the watch ends with its exception.
        """
        debouncer = ChangeDebouncer(known, self._stable_s)
        events = None
        if not self._polling_reason:
            events = threading.Thread(target=self._follow_events, name="sardonyx-events", daemon=True)
            events.start()
        try:
            while not self._stop.is_set():
                due_s = debouncer.due_in_s(self._clock())
                wait_s = self._poll_interval_s if due_s is None else min(due_s, self._poll_interval_s)
                self._wake.wait(wait_s)
                self._wake.clear()
                if self._stop.is_set():
                    return
                if debouncer.update(self._look(self._paths), self._clock()):
                    on_change(debouncer.known)
        finally:
            self.stop()
            if events is not None:
                events.join(_JOIN_S)

    def poll_now(self) -> None:
        """Scan as soon as possible. Callable from any thread; does not block."""
        self._wake.set()

    def stop(self) -> None:
        """End ``run`` soon. Callable from any thread, before ``run`` and repeatedly; does not block."""
        self._stop.set()
        self._wake.set()

    def _follow_events(self) -> None:
        """Trigger scans on file system events. Runs on its own thread until ``stop`` or an error."""
        from watchfiles import watch

        try:
            for _ in watch(
                *self._paths,
                # The default filter ignores folders such as .venv, which may contain a repository.
                watch_filter=None,
                step=_EVENT_STEP_MS,
                debounce=_EVENT_DEBOUNCE_MS,
                stop_event=self._stop,
                raise_interrupt=False,
            ):
                self.poll_now()
        except (OSError, RuntimeError) as error:
            # Too many folders for the kernel's limit, or a folder was deleted. Polling continues.
            self._polling_reason = f"the file system reports no changes ({type(error).__name__})"


def _no_events_reason(paths: Sequence[Path]) -> str:
    if any(is_network_filesystem(path) for path in paths):
        return "a path is on a network disk"
    # Watching a file means watching its folder and everything below, which may be a home folder.
    if not all(path.is_dir() for path in paths):
        return "a path is no folder"
    try:
        import watchfiles  # noqa: F401 -- its native part may be missing on a platform
    except ImportError:
        return "watchfiles is not installed"
    return ""


def _identity(model: ModelSpec | BrokenModel | None) -> object:
    """The value by which two scans of a model are compared."""
    return None if model is None else (type(model), model.fingerprint)
