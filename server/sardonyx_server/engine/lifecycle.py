"""Brings what is served in line with what lies on disk: loads, swaps, drains. One thread does it, model by model.

A new version is loaded, warmed and checked before requests reach it; the old one drains and closes after the swap. A
version that fails is reported and never displaces one that works. What failed is tried again when it changes.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.priority import lower_priority
from sardonyx_server.engine.registry import State, VersionStatus
from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.files import STILL_BEING_WRITTEN
from sardonyx_server.repository.spec import BrokenModel, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sardonyx_server.engine.model import Model
    from sardonyx_server.engine.registry import Registry

__all__ = ["Lifecycle"]

_LOG = logging.getLogger("sardonyx.models")

# How long after a look at unfinished files to look again.
_SETTLE_S: Final = 1.0


class Lifecycle:
    """Loads and unloads models in the background.

    Args:
        registry: Where states are published.
        load: Opens one version, telling its states; raises LoadFailed. Blocks as long as that takes.
        drain_timeout_s: How long a version that was replaced may take to finish what it had admitted.
        on_model: Told (name, done so far, of how many) after each model of a reconciliation, on the loader's thread.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[ModelSpec, int, Callable[[State], None]], Model],
        *,
        drain_timeout_s: float,
        on_model: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
    ) -> None:
        self._registry = registry
        self._load = load
        self._drain_timeout_s = drain_timeout_s
        self._on_model = on_model
        self._wanted: queue.SimpleQueue[tuple[Mapping[str, ModelSpec | BrokenModel], threading.Event] | None] = (
            queue.SimpleQueue()
        )
        self._loaded: dict[tuple[str, int], str] = {}
        self._fingerprints: dict[str, str] = {}
        # Files that somebody was still writing when they were looked at.
        self._unsettled: dict[tuple[str, int], ModelSpec] = {}
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()

    def reconcile(self, wanted: Mapping[str, ModelSpec | BrokenModel]) -> threading.Event:
        """Serve exactly these models from now on. Does not block; the event is set when it is done, well or badly."""
        done = threading.Event()
        self._wanted.put((wanted, done))
        return done

    def stop(self, timeout_s: float) -> bool:
        """Drain and close every version. Blocks.

        Returns:
            Whether all that was admitted got its answer in time.
        """
        self._stopping = True
        self._wanted.put(None)
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
        finished = [model.drain(max(0.0, until_s - time.monotonic())) for model in models]
        return all(finished)

    def _run(self) -> None:
        while True:
            try:
                task = self._wanted.get(timeout=_SETTLE_S if self._unsettled else None)
            except queue.Empty:
                self._retry_unsettled()
                continue
            if task is None:
                return
            wanted, done = task
            try:
                for index, (name, spec) in enumerate(wanted.items(), 1):
                    if self._stopping:
                        break
                    self._bring_in(name, spec)
                    self._on_model(name, index, len(wanted))
                for name in [name for name in self._registry.entries() if name not in wanted]:
                    self._take_out(name)
            except Exception:  # noqa: BLE001  # the thread goes on: the next change on disk may find it able to
                _LOG.exception("bug: the loader failed; models stay as they are")
            finally:
                done.set()
                lower_priority()

    def _retry_unsettled(self) -> None:
        unsettled, self._unsettled = self._unsettled, {}
        for (_, version), spec in unsettled.items():
            if self._stopping:
                return
            try:
                self._bring_in_version(spec, version)
                self._take_out_replaced(spec)
            except Exception:  # noqa: BLE001  # as in _run
                _LOG.exception("bug: the loader failed; models stay as they are")

    def _bring_in(self, name: str, spec: ModelSpec | BrokenModel) -> None:
        if isinstance(spec, BrokenModel):
            entry = self._registry.entries().get(name)
            if entry is None or entry.problem != spec.reason:
                _LOG.error("model cannot be served", extra={"model": name, "reason": spec.reason})
                self._registry.set_problem(name, spec.reason)
            return
        if self._fingerprints.get(name) != spec.fingerprint:
            self._fingerprints[name] = spec.fingerprint
            for warning in spec.warnings:
                _LOG.warning("model repository", extra={"model": name, "warning": warning})
        for version in spec.versions:
            if not self._stopping and self._loaded.get((name, version)) != spec.version_fingerprints[version]:
                self._bring_in_version(spec, version)
        self._take_out_replaced(spec)

    def _take_out_replaced(self, spec: ModelSpec) -> None:
        """Take out versions that are wanted no more. Only what works displaces what works."""
        name = spec.name
        entry = self._registry.entries().get(name)
        if entry is None or self._stopping:
            return
        if entry.problem:
            self._registry.set_problem(name, "")
        replaced = any(number in spec.versions and status.model for number, status in entry.versions.items())
        for version, status in entry.versions.items():
            if version not in spec.versions and (replaced or status.model is None):
                self._take_out_version(name, version)

    def _bring_in_version(self, spec: ModelSpec, version: int) -> None:
        name = spec.name
        old = self._serving(name, version)

        def tell(state: State) -> None:
            if old is None:
                self._registry.set_version(name, VersionStatus(number=version, state=state))

        # Remembered also where it fails: the same files fail again, other files have another fingerprint.
        self._loaded[name, version] = spec.version_fingerprints[version]
        self._unsettled.pop((name, version), None)
        tell(State.LOADING)
        try:
            model = self._load(spec, version, tell)
        except LoadFailed as error:
            if error.reason == STILL_BEING_WRITTEN:
                self._unsettled[name, version] = spec
            self._keep(old, name, version, error.message)
            return
        except Exception:  # noqa: BLE001  # one bad model never delays another, whatever is wrong with it
            _LOG.exception("bug: unforeseen error of a load", extra={"model": name, "version": version})
            self._keep(old, name, version, "unforeseen error, see the server's log")
            return
        if self._stopping:
            # Nobody would drain it any more.
            self._drain(model)
            if old is None:
                status = VersionStatus(number=version, state=State.CLOSED, reason="the server is stopping")
                self._registry.set_version(name, status)
            return
        for warning in model.facts.warnings:
            _LOG.warning("model config", extra={"model": name, "version": version, "warning": warning})
        self._registry.set_version(name, VersionStatus(number=version, state=State.READY, model=model))
        _LOG.info(
            "model ready",
            extra={
                "model": name,
                "version": version,
                "load_s": round(model.facts.load_s, 3),
                "provider": model.facts.provider,
                "batching": model.facts.verdict.reason,
            },
        )
        if old is not None:
            self._drain(old)

    def _keep(self, old: Model | None, name: str, version: int, reason: str) -> None:
        """A load failed: say so, and go on with what was served before, if anything was."""
        _LOG.error(
            "model failed to load", extra={"model": name, "version": version, "reason": reason, "kept": bool(old)}
        )
        if old is None:
            status = VersionStatus(number=version, state=State.FAILED, reason=reason)
        else:
            status = VersionStatus(
                number=version,
                state=State.READY,
                model=old,
                reason=f"the files on disk were not taken, an earlier state of them is served: {reason}",
            )
        self._registry.set_version(name, status)

    def _take_out(self, name: str) -> None:
        entry = self._registry.entries().get(name)
        for version in list(entry.versions) if entry else ():
            self._take_out_version(name, version)
        self._fingerprints.pop(name, None)
        self._registry.drop(name)

    def _take_out_version(self, name: str, version: int) -> None:
        old = self._serving(name, version)
        self._loaded.pop((name, version), None)
        self._unsettled.pop((name, version), None)
        if old is not None:
            self._registry.set_version(name, VersionStatus(number=version, state=State.DRAINING, reason="unloaded"))
            self._drain(old)
            _LOG.info("model unloaded", extra={"model": name, "version": version})
        self._registry.drop_version(name, version)

    def _serving(self, name: str, version: int) -> Model | None:
        entry = self._registry.entries().get(name)
        status = entry.versions.get(version) if entry else None
        return status.model if status else None

    def _drain(self, model: Model) -> None:
        if not model.drain(self._drain_timeout_s):
            _LOG.error(
                "an old version did not finish in time",
                extra={"model": model.name, "version": model.version, "timeout_s": self._drain_timeout_s},
            )
