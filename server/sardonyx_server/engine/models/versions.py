"""Loads, swaps and unloads the versions of one model at a time, and publishes their states. Starts no thread.

A new version is loaded and warmed up before requests reach it; the old one is drained after the swap, on another
thread. A version that fails is reported and never replaces one that works. It is tried again when its files change, or
when a caller asks for it.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.models.states import State, VersionStatus
from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.spec import BrokenModel, ModelSpec
from sardonyx_server.repository.stable_file import STILL_BEING_WRITTEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sardonyx_server.engine.models.draining import Drainer
    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.running.model import Model

__all__ = ["NOT_LOADED", "NOT_SERVED", "UNLOADED", "Versions"]

_LOG = logging.getLogger("sardonyx.models")

NOT_SERVED: Final = "model cannot be served"
"""Log event: a folder or file on disk is not a valid model."""
NOT_LOADED: Final = "model failed to load"
"""Log event: a version could not be loaded."""
UNLOADED: Final = "unloaded"
"""Reason of a version that was unloaded on request. It is Triton's word, which scripts of its users wait for."""


class Versions:
    """The loaded versions, and the files they were loaded from. Only for the loader's thread.

    Args:
        registry: Where states are published.
        load_version: Loads one version and reports its states; raises LoadFailed. Blocks.
        drainer: Drains the versions that are replaced or unloaded.
        is_stopping: Returns whether to load no further versions; checked between two versions.
    """

    def __init__(
        self,
        registry: Registry,
        load_version: Callable[[ModelSpec, int, Callable[[State], None]], Model],
        drainer: Drainer,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._registry = registry
        self._load_model = load_version
        self._drainer = drainer
        self._is_stopping = is_stopping
        self._loaded: dict[tuple[str, int], str] = {}
        self._fingerprints: dict[str, str] = {}
        # Versions whose files were still being written when they were read.
        self._incomplete: dict[tuple[str, int], ModelSpec] = {}

    @property
    def has_incomplete(self) -> bool:
        """Whether :meth:`retry_incomplete` has something to do."""
        return bool(self._incomplete)

    def load(self, name: str, spec: ModelSpec | BrokenModel) -> tuple[str, ...]:
        """Load a model as it is on disk. Blocks while it loads; versions that have not changed are left alone.

        Returns:
            Why versions could not be loaded this time, one text each.
        """
        if isinstance(spec, BrokenModel):
            entry = self._registry.entries().get(name)
            if entry is None or entry.problem != spec.reason:
                _LOG.error(NOT_SERVED, extra={"model": name, "reason": spec.reason})
                self._registry.set_problem(name, spec.reason)
            return (spec.reason,)
        if self._fingerprints.get(name) != spec.fingerprint:
            self._fingerprints[name] = spec.fingerprint
            for warning in spec.warnings:
                _LOG.warning("model repository", extra={"model": name, "warning": warning})
        problems = tuple(
            problem
            for version in spec.versions
            if not self._is_stopping() and self._loaded.get((name, version)) != spec.version_fingerprints[version]
            if (problem := self._load_version(spec, version))
        )
        self._unload_replaced(spec)
        return problems

    def reload(self, name: str, spec: ModelSpec | BrokenModel) -> tuple[str, ...]:
        """Like :meth:`load`, but tries versions that failed before again, although they have not changed.

        Incomplete files count as a failure: the caller is told so and has to retry.
        """
        entry = self._registry.entries().get(name)
        for number, status in entry.versions.items() if entry else ():
            if status.state is not State.READY or status.reason:
                self._loaded.pop((name, number), None)
        problems = self.load(name, spec)
        for key in [key for key in self._incomplete if key[0] == name]:
            del self._incomplete[key]
        return problems

    def retry_incomplete(self) -> None:
        """Try versions whose files were incomplete again. Blocks while they load."""
        incomplete, self._incomplete = self._incomplete, {}
        for (_, version), spec in incomplete.items():
            if self._is_stopping():
                return
            self._load_version(spec, version)
            self._unload_replaced(spec)

    def remove(self, name: str) -> None:
        """Remove a model that is no longer desired: it becomes unknown when its versions have drained."""
        entry = self._registry.entries().get(name)
        for version in list(entry.versions) if entry else ():
            self._unload_version(name, version)
        self._fingerprints.pop(name, None)
        entry = self._registry.entries().get(name)
        if entry is not None and not entry.versions:
            self._registry.drop(name)

    def unload(self, name: str) -> list[Future[bool]]:
        """Unload a model that stays known: its versions drain, and are then CLOSED with the reason ``unloaded``.

        Returns:
            All drains of the model that are in progress.
        """
        entry = self._registry.entries().get(name)
        for version in list(entry.versions) if entry else ():
            self._unload_version(name, version, keep=True)
        self._fingerprints.pop(name, None)
        return self._drainer.of(name)

    def _unload_replaced(self, spec: ModelSpec) -> None:
        """Unload versions that are no longer desired. A working version is only replaced by a working one."""
        name = spec.name
        entry = self._registry.entries().get(name)
        if entry is None or self._is_stopping():
            return
        if entry.problem:
            self._registry.set_problem(name, "")
        # A model with a reason means that an earlier load of the version is served, because the latest one failed.
        replaced = any(
            number in spec.versions and status.model is not None and not status.reason
            for number, status in entry.versions.items()
        )
        for version, status in entry.versions.items():
            if version not in spec.versions and (replaced or status.model is None):
                self._unload_version(name, version)

    def _load_version(self, spec: ModelSpec, version: int) -> str:
        """Load one version and swap it in. Returns why it could not be loaded, or ""."""
        name = spec.name
        old = self._serving(name, version)

        def report_state(state: State) -> None:
            if old is None:
                self._registry.set_version(name, VersionStatus(number=version, state=state))

        # Recorded even if it fails: the same files would fail again, and changed files have another fingerprint.
        self._loaded[name, version] = spec.version_fingerprints[version]
        self._incomplete.pop((name, version), None)
        report_state(State.LOADING)
        try:
            model = self._load_model(spec, version, report_state)
        except LoadFailed as error:
            if error.reason == STILL_BEING_WRITTEN:
                self._incomplete[name, version] = spec
            return self._report_failure(old, name, version, error.message)
        except Exception:  # noqa: BLE001  # a bad model must not affect others, whatever is wrong with it
            _LOG.exception("bug: unforeseen error of a load", extra={"model": name, "version": version})
            return self._report_failure(old, name, version, "unforeseen error, see the server's log")
        if self._is_stopping():
            return self._discard(old, model)
        for warning in model.info.warnings:
            _LOG.warning("model config", extra={"model": name, "version": version, "warning": warning})
        for note in model.info.notes:
            _LOG.info("model graph", extra={"model": name, "version": version, "note": note})
        self._registry.set_version(name, VersionStatus(number=version, state=State.READY, model=model))
        _LOG.info(
            "model ready",
            extra={
                "model": name,
                "version": version,
                "load_s": round(model.info.load_s, 3),
                "provider": model.info.provider,
                "batching": model.info.verdict.reason,
                "measured": "by an earlier load of the same files" if model.info.remembered else "now",
            },
        )
        if old is not None:
            self._drainer.begin(old)
        return ""

    def _discard(self, old: Model | None, model: Model) -> str:
        """Discard a version that became ready while the server stops."""
        self._drainer.begin(model)
        reason = "the server is stopping"
        if old is None:
            status = VersionStatus(number=model.version, state=State.CLOSED, reason=reason)
            self._registry.set_version(model.name, status)
        return reason

    def _report_failure(self, old: Model | None, name: str, version: int, reason: str) -> str:
        """Report a failed load, and continue to serve the previous version, if there was one."""
        fields = {"model": name, "version": version, "reason": reason}
        if old is not None:
            fields["meanwhile"] = "the version that served before still serves"
        _LOG.error(NOT_LOADED, extra=fields)
        if old is None:
            status = VersionStatus(number=version, state=State.FAILED, reason=reason)
        else:
            status = VersionStatus(
                number=version,
                state=State.READY,
                model=old,
                reason=f"a later load failed, an earlier state is served: {reason}",
            )
        self._registry.set_version(name, status)
        return reason

    def _unload_version(self, name: str, version: int, *, keep: bool = False) -> None:
        """Drain a version if it serves; ``keep`` says whether it stays known afterwards."""
        entry = self._registry.entries().get(name)
        status = entry.versions.get(version) if entry else None
        self._loaded.pop((name, version), None)
        self._incomplete.pop((name, version), None)
        if status is None or status.state is State.DRAINING:
            return
        left = VersionStatus(number=version, state=State.CLOSED, reason=UNLOADED) if keep else None
        if status.model is None:
            self._registry.replace_version(name, status, left)
            return
        leaving = VersionStatus(number=version, state=State.DRAINING, reason=UNLOADED)
        self._registry.set_version(name, leaving)
        self._drainer.begin(status.model).add_done_callback(partial(self._drained, name, leaving, left))

    def _drained(self, name: str, leaving: VersionStatus, left: VersionStatus | None, _closed: Future[bool]) -> None:
        """Runs on the drain's thread. Does nothing if the version has been loaded again meanwhile."""
        self._registry.replace_version(name, leaving, left)
        _LOG.info("model unloaded", extra={"model": name, "version": leaving.number})

    def _serving(self, name: str, version: int) -> Model | None:
        entry = self._registry.entries().get(name)
        status = entry.versions.get(version) if entry else None
        return status.model if status else None
