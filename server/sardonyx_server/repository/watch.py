"""Tells when models appear, vanish or change on disk, and only once they hold still. Loads nothing.

What counts is a look at the disk (``scan``), taken every ``poll_interval_s``. Events of the file system
(``watchfiles``) only bring the next look forward: where there are none, as on network disks, changes are seen later and
not less surely.
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

# How long the file system must be quiet before events are handed on, and how often that is looked at.
_EVENT_STEP_MS: Final = 200
_EVENT_DEBOUNCE_MS: Final = 1_600
_JOIN_S: Final = 5.0


class ChangeDebouncer:
    """Decides which changes hold still: those that look the same at two looks, ``stable_s`` apart. Looks at no disk.

    Not thread safe. Time is passed in, in seconds of any monotonic clock.

    Args:
        known: What the observer knows already.
        stable_s: How long a model must look the same.
    """

    __slots__ = ("_known", "_pending", "_stable_s")

    def __init__(self, known: Mapping[str, ModelSpec | BrokenModel], stable_s: float) -> None:
        self._known = dict(known)
        self._stable_s = stable_s
        # name -> (what it looked like, since when)
        self._pending: dict[str, tuple[object, float]] = {}

    @property
    def known(self) -> Mapping[str, ModelSpec | BrokenModel]:
        """The models as reported so far: a copy."""
        return dict(self._known)

    def update(self, found: Mapping[str, ModelSpec | BrokenModel], now_s: float) -> bool:
        """Take in a look at the disk. Whether something has settled, which is known from now on."""
        settled = False
        pending: dict[str, tuple[object, float]] = {}
        for name in self._known.keys() | found.keys():
            mark = _identity(found.get(name))
            if mark == _identity(self._known.get(name)):
                continue
            seen, since_s = self._pending.get(name, (None, now_s))
            if name not in self._pending or seen != mark:
                pending[name] = (mark, now_s)
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
        """Seconds until the next look can settle something; None where nothing is unsettled."""
        if not self._pending:
            return None
        return max(0.0, min(since_s for _, since_s in self._pending.values()) + self._stable_s - now_s)


class RepositoryWatcher:
    """Follows some paths until it is stopped.

    Args:
        paths: As for ``scan``.
        poll_interval_s: How often to look without being told to.
        stable_s: How long a model must look the same before its change is reported.
        polling: Use no events of the file system. They are not used either where a path is on a network disk or is no
            folder, and where ``watchfiles`` does not work.
        look: Takes a look at the disk; never raises.
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
        """Why changes are seen by polling alone; "" where events of the file system are used as well."""
        return self._polling_reason

    def run(
        self,
        known: Mapping[str, ModelSpec | BrokenModel],
        on_change: Callable[[Mapping[str, ModelSpec | BrokenModel]], None],
    ) -> None:
        """Watch until ``stop``. Blocks; meant for a thread of its own.

        Args:
            known: The look that the caller started from.
            on_change: Called on this thread with all models as they are now, where some have changed. While it runs
                nothing is looked at. It must not raise: the watch ends with what it raises.
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
        """Bring the next look forward. Callable from any thread; does not block."""
        self._wake.set()

    def stop(self) -> None:
        """End ``run``, soon. Callable from any thread, also before ``run`` and repeatedly; does not block."""
        self._stop.set()
        self._wake.set()

    def _follow_events(self) -> None:
        """Turn events of the file system into looks. Runs on a thread of its own, until ``stop`` or an error."""
        from watchfiles import watch

        try:
            for _ in watch(
                *self._paths,
                # Its own filter passes over folders such as .venv, and a repository may lie in one.
                watch_filter=None,
                step=_EVENT_STEP_MS,
                debounce=_EVENT_DEBOUNCE_MS,
                stop_event=self._stop,
                raise_interrupt=False,
            ):
                self.poll_now()
        except (OSError, RuntimeError) as error:
            # Too many folders for the kernel, or a folder that went away. The polling goes on by itself.
            self._polling_reason = f"the file system reports no changes ({type(error).__name__})"


def _no_events_reason(paths: Sequence[Path]) -> str:
    if any(is_network_filesystem(path) for path in paths):
        return "a path is on a network disk"
    # To follow one file means to follow its folder and all below, which may be a home folder.
    if not all(path.is_dir() for path in paths):
        return "a path is no folder"
    try:
        import watchfiles  # noqa: F401 -- its native part may be missing on a platform
    except ImportError:
        return "watchfiles is not installed"
    return ""


def _identity(model: ModelSpec | BrokenModel | None) -> object:
    """What two looks at the same model are compared by."""
    return None if model is None else (type(model), model.fingerprint)
