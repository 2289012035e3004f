"""Brings what is served in line with what lies on disk and with what is asked for, in order, on one thread.

One loader: two models that are measured at once would measure each other. It waits for no drain, and for no caller.
What happens to a model is in ``versions``; this module says when.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.models.draining import Drainer
from sardonyx_server.engine.models.versions import Versions
from sardonyx_server.engine.priority import lower_priority
from sardonyx_server.errors import LoadFailed, ServerError, ShuttingDown
from sardonyx_server.repository.spec import ModelSpec
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.models.states import State
    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.repository.spec import BrokenModel

__all__ = ["Lifecycle"]

_LOG = logging.getLogger("sardonyx.models")

# How long after a look at unfinished files to look again.
_SETTLE_S: Final = 1.0
# How long nothing may have been loaded or unloaded before memory is given back: the next load would only ask for it
# again, and takes up to twice as long beside it (2026-11-26).
_QUIET_S: Final = 5.0
# Callers may load models under any name; so many that are not served stay known.
_REMEMBERED: Final = 1_000


class Lifecycle:
    """Loads and unloads models in the background.

    Args:
        registry: Where states are published.
        load: Opens one version, telling its states; raises LoadFailed. Blocks as long as that takes.
        drain_timeout_s: How long a version that was replaced may take to finish what it had admitted.
        on_model: Told (name, done so far, of how many) after each model of a reconciliation, on the loader's thread.
        give_back: Gives freed memory back to the system; called when large versions are closed and nothing is loaded.
            May block for some milliseconds.
        quiet_s: How long nothing must have been loaded or unloaded for that.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[ModelSpec, int, Callable[[State], None]], Model],
        *,
        drain_timeout_s: float,
        on_model: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
        give_back: Callable[[], None] = lambda: None,
        quiet_s: float = _QUIET_S,
    ) -> None:
        self._registry = registry
        self._on_model = on_model
        self._quiet_s = quiet_s
        self._drains = Drainer(drain_timeout_s, give_back)
        self._versions = Versions(registry, load, self._drains, lambda: self._stopping)
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Names that the last reconciliation wanted: the next one takes out what it no longer wants of them.
        self._reconciled: tuple[str, ...] = ()
        self._asked_for: dict[str, None] = {}
        # Reentrant: an answer that is refused forgets itself.
        self._lock = threading.RLock()
        self._answers: set[Future[None]] = set()
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()

    def reconcile(self, wanted: Mapping[str, ModelSpec | BrokenModel]) -> threading.Event:
        """Serve exactly these models from now on, and those that were loaded by name.

        Does not block; the event is set when it is done, well or badly. Until its turn comes a model is NEW.
        """
        self._registry.announce({name: spec.versions for name, spec in wanted.items() if isinstance(spec, ModelSpec)})
        done = threading.Event()
        self._tasks.put(partial(self._reconcile, wanted, done))
        return done

    def load(self, name: str, find: Callable[[], AbstractContextManager[ModelSpec | BrokenModel]]) -> Future[None]:
        """Serve one model as it lies on disk when its turn comes. Does not block. Any thread.

        What has not changed since it was loaded is left alone, what failed is tried again.

        Args:
            name: The model's.
            find: Looks at the disk, on the loader's thread; the context is left when the load is over. May raise.

        Returns:
            Done when every version is ready or has failed: then it raises LoadFailed, what ``find`` raised, or
            ShuttingDown. Cancelling it works until its turn has come.
        """
        return self._ask(partial(self._load, name, find))

    def unload(self, name: str, check: Callable[[], None]) -> Future[None]:
        """Serve a model no more: it finishes what it has admitted and stays known. Does not block. Any thread.

        Args:
            name: The model's.
            check: Called on the loader's thread, first of all; what it raises is the outcome.

        Returns:
            Done when all its versions are closed, also such as were replaced before; or it raises ShuttingDown.
        """
        return self._ask(partial(self._unload, name, check))

    def refuse(self) -> None:
        """Begin nothing more; loads and unloads that have not ended raise ShuttingDown. Does not block."""
        with self._lock:
            self._stopping = True
            for answer in list(self._answers):
                _fail(answer, ShuttingDown("the server is stopping; load models at another one"))

    def stop(self, timeout_s: float) -> bool:
        """Drain and close every version. Blocks.

        Returns:
            Whether all that was admitted got its answer in time.
        """
        self.refuse()
        self._tasks.put(None)
        until_s = time.monotonic() + timeout_s
        self._thread.join(timeout_s)
        models = [
            status.model
            for entry in self._registry.entries().values()
            for status in entry.versions.values()
            if status.model is not None
        ]
        # All at once: each refuses new work first, so that the slowest does not hold up the others' start.
        for model in models:
            model.queue.close()
        finished = [model.drain(max(0.0, until_s - time.monotonic()), while_serving=False) for model in models]
        return self._drains.join(max(0.0, until_s - time.monotonic())) and all(finished)

    def _run(self) -> None:
        while True:
            idle_s, when_idle = self._when_idle()
            try:
                task = self._tasks.get(timeout=idle_s)
            except queue.Empty:
                task = when_idle
            if task is None:
                return
            try:
                task()
            except Exception:  # noqa: BLE001  # the thread goes on: the next change on disk may find it able to
                _LOG.exception("bug: the loader failed; models stay as they are")
            del task  # While the thread waits it would keep in memory what came with a load.
            # From the first task on: until then nobody else wants the processor.
            lower_priority()

    def _when_idle(self) -> tuple[float | None, Callable[[], None]]:
        """After how many seconds without a task to do what; None = never."""
        if self._versions.has_unsettled:
            return _SETTLE_S, self._versions.retry_unsettled
        return self._quiet_s if self._drains.leaves_much else None, self._drains.give_back_memory

    def _reconcile(self, wanted: Mapping[str, ModelSpec | BrokenModel], done: threading.Event) -> None:
        try:
            before, self._reconciled = self._reconciled, tuple(wanted)
            for index, (name, spec) in enumerate(wanted.items(), 1):
                if self._stopping:
                    break
                self._versions.bring_in(name, spec)
                self._on_model(name, index, len(wanted))
            for name in before:
                if name not in wanted and not self._stopping:
                    self._versions.forget(name)
        finally:
            done.set()

    def _ask(self, work: Callable[[], Sequence[Future[bool]]]) -> Future[None]:
        """Have work done when its turn comes; it returns what is to be waited for besides."""
        answer: Future[None] = Future()
        with self._lock:
            self._answers.add(answer)
            answer.add_done_callback(self._answers.discard)
            if self._stopping:
                self.refuse()
            self._tasks.put(partial(self._answer, answer, work))
        return answer

    def _answer(self, answer: Future[None], work: Callable[[], Sequence[Future[bool]]]) -> None:
        with self._lock:
            if self._stopping or not answer.set_running_or_notify_cancel():
                return
        try:
            _succeed_after(work(), answer)
        except Exception as error:  # noqa: BLE001  # whoever asked gets it
            if not isinstance(error, ServerError):
                _LOG.exception("bug: the loader failed; models stay as they are")
            _fail(answer, error)
        finally:
            # The error keeps this frame. If that kept the error, what came with a load would stay in memory: garbage is
            # hardly ever collected here.
            del answer, work

    def _load(
        self, name: str, find: Callable[[], AbstractContextManager[ModelSpec | BrokenModel]]
    ) -> Sequence[Future[bool]]:
        with find() as spec:
            problems = self._versions.bring_in_again(name, spec)
        self._remember(name)
        if problems:
            entry = self._registry.entries().get(name)
            kept = "; what was loaded before is still served" if entry and entry.newest_ready else ""
            raise LoadFailed(f"model {quoted(name)} failed to load: {'; '.join(problems)}{kept}")
        return ()

    def _unload(self, name: str, check: Callable[[], None]) -> Sequence[Future[bool]]:
        check()
        drains = self._versions.unload(name)
        self._remember(name)
        return drains

    def _remember(self, name: str) -> None:
        """Note that somebody asked for a model; forget the longest ago of those that are not served."""
        if name in self._reconciled:
            return
        self._asked_for.pop(name, None)
        self._asked_for[name] = None
        if len(self._asked_for) > _REMEMBERED:
            oldest = next(iter(self._asked_for))
            del self._asked_for[oldest]
            entry = self._registry.entries().get(oldest)
            if entry is not None and entry.newest_ready is None:
                self._versions.forget(oldest)


def _succeed_after(drains: Sequence[Future[bool]], answer: Future[None]) -> None:
    """Say that it is done when all drains are over."""
    left = set(drains)

    def count_down(closed: Future[bool]) -> None:
        # One step, so no lock: drains end on threads of their own.
        left.discard(closed)
        if not left:
            _succeed(answer)

    for drain in drains:
        drain.add_done_callback(count_down)
    if not drains:
        _succeed(answer)


def _succeed(answer: Future[None]) -> None:
    # Nothing is left to say where the server began to stop meanwhile.
    with suppress(InvalidStateError):
        answer.set_result(None)


def _fail(answer: Future[None], error: Exception) -> None:
    with suppress(InvalidStateError):
        answer.set_exception(error)
