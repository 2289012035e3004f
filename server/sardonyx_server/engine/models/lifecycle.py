"""Reconciles the served models with the desired ones, and loads and unloads on request, in order, on one thread.

There is one loader thread, because two models that are measured at the same time would disturb each other. It waits for
no drain and for no caller. versions.py does what is to be done to a model; this module decides when.
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

# Interval at which incomplete files are checked again.
_RETRY_S: Final = 1.0
# How long the loader must have been idle before freed memory is released: the next load would only allocate it again,
# and takes up to twice as long at the same time (2026-11-26).
_QUIET_S: Final = 5.0
# Callers may load models under any name. This many of them stay known while they are not served.
_MAX_UNSERVED: Final = 1_000


class Lifecycle:
    """Loads and unloads models in the background.

    Args:
        registry: Where states are published.
        load: Loads one version and reports its states; raises LoadFailed. Blocks.
        drain_timeout_s: How long a replaced version may take to finish its admitted requests.
        on_model: Called with (name, done so far, total) after each model of a reconciliation, on the loader's thread.
        release_memory: Returns freed memory to the operating system; called when large versions are closed and the
            loader is idle. May block for some milliseconds.
        quiet_s: How long the loader must have been idle for that.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[ModelSpec, int, Callable[[State], None]], Model],
        *,
        drain_timeout_s: float,
        on_model: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
        release_memory: Callable[[], None] = lambda: None,
        quiet_s: float = _QUIET_S,
    ) -> None:
        self._registry = registry
        self._on_model = on_model
        self._quiet_s = quiet_s
        self._drainer = Drainer(drain_timeout_s, release_memory)
        self._versions = Versions(registry, load, self._drainer, lambda: self._stopping)
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Desired models of the last reconciliation: the next one unloads those that it no longer has.
        self._reconciled: tuple[str, ...] = ()
        self._requested: dict[str, None] = {}
        # Reentrant: failing an answer removes it from the set.
        self._lock = threading.RLock()
        self._answers: set[Future[None]] = set()
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Start the loader's thread. Once."""
        self._thread.start()

    def reconcile(self, desired: Mapping[str, ModelSpec | BrokenModel]) -> threading.Event:
        """Serve exactly these models from now on, besides those that were loaded by name. Does not block.

        Until its turn comes, a model is NEW.

        Returns:
            Set when the reconciliation has ended, whether or not all models could be loaded.
        """
        self._registry.announce({name: spec.versions for name, spec in desired.items() if isinstance(spec, ModelSpec)})
        done = threading.Event()
        self._tasks.put(partial(self._reconcile, desired, done))
        return done

    def load(self, name: str, find: Callable[[], AbstractContextManager[ModelSpec | BrokenModel]]) -> Future[None]:
        """Load one model as it is on disk when its turn comes. Does not block. Any thread.

        Versions that have not changed are left alone; those that failed are tried again.

        Args:
            name: Name of the model.
            find: Reads the disk, on the loader's thread; the context is left when the load is over. May raise.

        Returns:
            Completed when every version is ready or has failed; then it raises LoadFailed, what ``find`` raised, or
            ShuttingDown. It can be cancelled until its turn has come.
        """
        return self._submit(partial(self._load, name, find))

    def unload(self, name: str, check: Callable[[], None]) -> Future[None]:
        """Unload a model: it finishes its admitted requests and stays known. Does not block. Any thread.

        Args:
            name: Name of the model.
            check: Called first, on the loader's thread; what it raises is the result.

        Returns:
            Completed when all its versions are closed, including those replaced earlier; or it raises ShuttingDown.
        """
        return self._submit(partial(self._unload, name, check))

    def refuse(self) -> None:
        """Start no further task; unfinished loads and unloads raise ShuttingDown. Does not block."""
        with self._lock:
            self._stopping = True
            for answer in list(self._answers):
                _fail(answer, ShuttingDown("the server is stopping; load models at another one"))

    def stop(self, timeout_s: float) -> bool:
        """Drain and close every version. Blocks.

        Returns:
            Whether all admitted requests were answered in time.
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
        # Close all queues first, so that a model that drains slowly does not let the others admit requests meanwhile.
        for model in models:
            model.queue.close()
        finished = [model.drain(max(0.0, until_s - time.monotonic()), while_serving=False) for model in models]
        return self._drainer.join(max(0.0, until_s - time.monotonic())) and all(finished)

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
            except Exception:  # noqa: BLE001  # the thread goes on: the next change on disk may succeed
                _LOG.exception("bug: the loader failed; models stay as they are")
            del task  # Otherwise the files that came with a load would stay in memory while the thread waits.
            # After the first task: until then nothing is served that needs the CPU.
            lower_priority()

    def _when_idle(self) -> tuple[float | None, Callable[[], None]]:
        """Return what to do after how many seconds without a task; None = never."""
        if self._versions.has_incomplete:
            return _RETRY_S, self._versions.retry_incomplete
        return self._quiet_s if self._drainer.has_memory_to_release else None, self._drainer.release_memory_if_idle

    def _reconcile(self, desired: Mapping[str, ModelSpec | BrokenModel], done: threading.Event) -> None:
        try:
            before, self._reconciled = self._reconciled, tuple(desired)
            for index, (name, spec) in enumerate(desired.items(), 1):
                if self._stopping:
                    break
                self._versions.load(name, spec)
                self._on_model(name, index, len(desired))
            for name in before:
                if name not in desired and not self._stopping:
                    self._versions.remove(name)
        finally:
            done.set()

    def _submit(self, work: Callable[[], Sequence[Future[bool]]]) -> Future[None]:
        """Enqueue work for the loader's thread. It returns drains that must end before the answer is complete."""
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
        except Exception as error:  # noqa: BLE001  # the caller gets it
            if not isinstance(error, ServerError):
                _LOG.exception("bug: the loader failed; models stay as they are")
            _fail(answer, error)
        finally:
            # Break the reference cycle between the error and this frame: the garbage collector hardly ever runs here,
            # and the files that came with a load would stay in memory.
            del answer, work

    def _load(
        self, name: str, find: Callable[[], AbstractContextManager[ModelSpec | BrokenModel]]
    ) -> Sequence[Future[bool]]:
        with find() as spec:
            problems = self._versions.reload(name, spec)
        self._note_requested(name)
        if problems:
            entry = self._registry.entries().get(name)
            kept = "; what was loaded before is still served" if entry and entry.newest_ready else ""
            raise LoadFailed(f"model {quoted(name)} failed to load: {'; '.join(problems)}{kept}")
        return ()

    def _unload(self, name: str, check: Callable[[], None]) -> Sequence[Future[bool]]:
        check()
        drains = self._versions.unload(name)
        self._note_requested(name)
        return drains

    def _note_requested(self, name: str) -> None:
        """Note a model that was loaded by name; forget the least recently requested one that is not served."""
        if name in self._reconciled:
            return
        self._requested.pop(name, None)
        self._requested[name] = None
        if len(self._requested) > _MAX_UNSERVED:
            oldest = next(iter(self._requested))
            del self._requested[oldest]
            entry = self._registry.entries().get(oldest)
            if entry is not None and entry.newest_ready is None:
                self._versions.remove(oldest)


def _succeed_after(drains: Sequence[Future[bool]], answer: Future[None]) -> None:
    """Complete the answer when all drains have ended."""
    left = set(drains)

    def count_down(closed: Future[bool]) -> None:
        # Drains end on different threads, but discard() is atomic under the GIL.
        left.discard(closed)
        if not left:
            _succeed(answer)

    for drain in drains:
        drain.add_done_callback(count_down)
    if not drains:
        _succeed(answer)


def _succeed(answer: Future[None]) -> None:
    # The answer has failed already if the server began to stop meanwhile.
    with suppress(InvalidStateError):
        answer.set_result(None)


def _fail(answer: Future[None], error: Exception) -> None:
    with suppress(InvalidStateError):
        answer.set_exception(error)
