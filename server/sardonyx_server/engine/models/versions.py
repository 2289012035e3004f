"""Brings the versions of one model at a time into the registry, swaps them and takes them out. Starts no thread.

A new version is loaded, warmed and checked before requests reach it; the old one drains after the swap, elsewhere. A
version that fails is reported and never displaces one that works. What failed is tried again when it changes, or when
somebody asks for it.
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
"""Event: what lies on disk is no model."""
NOT_LOADED: Final = "model failed to load"
"""Event: a version could not be opened."""
UNLOADED: Final = "unloaded"
"""Reason of a version that was taken out on purpose: Triton's word, which its users' scripts wait for."""


class Versions:
    """What is loaded, and from which files. For the loader's thread alone.

    Args:
        registry: Where states are published.
        load: Opens one version, telling its states; raises LoadFailed. Blocks as long as that takes.
        drains: Takes the versions that are replaced.
        is_stopping: Whether nothing more should be brought in; asked between two versions.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[ModelSpec, int, Callable[[State], None]], Model],
        drains: Drainer,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._registry = registry
        self._load = load
        self._drains = drains
        self._is_stopping = is_stopping
        self._loaded: dict[tuple[str, int], str] = {}
        self._fingerprints: dict[str, str] = {}
        # Files that somebody was still writing when they were looked at.
        self._unsettled: dict[tuple[str, int], ModelSpec] = {}

    @property
    def has_unsettled(self) -> bool:
        """Whether :meth:`retry_unsettled` has something to do."""
        return bool(self._unsettled)

    def bring_in(self, name: str, spec: ModelSpec | BrokenModel) -> tuple[str, ...]:
        """Serve a model as it lies on disk. Blocks while it loads; versions that have not changed are left alone.

        Returns:
            Why versions that were tried now could not be loaded, one text each.
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
            if (problem := self._bring_in_version(spec, version))
        )
        self._take_out_replaced(spec)
        return problems

    def bring_in_again(self, name: str, spec: ModelSpec | BrokenModel) -> tuple[str, ...]:
        """Like :meth:`bring_in`, but what failed before is tried again although it has not changed.

        What is still being written counts as a failure: the caller is told so, and tries again.
        """
        entry = self._registry.entries().get(name)
        for number, status in entry.versions.items() if entry else ():
            if status.state is not State.READY or status.reason:
                self._loaded.pop((name, number), None)
        problems = self.bring_in(name, spec)
        for key in [key for key in self._unsettled if key[0] == name]:
            del self._unsettled[key]
        return problems

    def retry_unsettled(self) -> None:
        """Try again what was still being written. Blocks while it loads."""
        unsettled, self._unsettled = self._unsettled, {}
        for (_, version), spec in unsettled.items():
            if self._is_stopping():
                return
            self._bring_in_version(spec, version)
            self._take_out_replaced(spec)

    def forget(self, name: str) -> None:
        """Take a model out that is wanted no more: it vanishes when its versions have drained."""
        entry = self._registry.entries().get(name)
        for version in list(entry.versions) if entry else ():
            self._take_out_version(name, version)
        self._fingerprints.pop(name, None)
        entry = self._registry.entries().get(name)
        if entry is not None and not entry.versions:
            self._registry.drop(name)

    def unload(self, name: str) -> list[Future[bool]]:
        """Take a model out that stays known: its versions drain, and then are CLOSED, ``unloaded``.

        Returns:
            All drains of the model that are under way.
        """
        entry = self._registry.entries().get(name)
        for version in list(entry.versions) if entry else ():
            self._take_out_version(name, version, keep=True)
        self._fingerprints.pop(name, None)
        return self._drains.of(name)

    def _take_out_replaced(self, spec: ModelSpec) -> None:
        """Take out versions that are wanted no more. Only what works displaces what works."""
        name = spec.name
        entry = self._registry.entries().get(name)
        if entry is None or self._is_stopping():
            return
        if entry.problem:
            self._registry.set_problem(name, "")
        # A reason beside a model: an earlier state of the version is served, since the wanted one failed.
        replaced = any(
            number in spec.versions and status.model is not None and not status.reason
            for number, status in entry.versions.items()
        )
        for version, status in entry.versions.items():
            if version not in spec.versions and (replaced or status.model is None):
                self._take_out_version(name, version)

    def _bring_in_version(self, spec: ModelSpec, version: int) -> str:
        """Load one version and swap it in; why it could not be loaded, or ""."""
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
            return self._keep(old, name, version, error.message)
        except Exception:  # noqa: BLE001  # one bad model never delays another, whatever is wrong with it
            _LOG.exception("bug: unforeseen error of a load", extra={"model": name, "version": version})
            return self._keep(old, name, version, "unforeseen error, see the server's log")
        if self._is_stopping():
            return self._too_late(old, model)
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
            self._drains.begin(old)
        return ""

    def _too_late(self, old: Model | None, model: Model) -> str:
        """A version became ready while the server stops."""
        self._drains.begin(model)
        reason = "the server is stopping"
        if old is None:
            status = VersionStatus(number=model.version, state=State.CLOSED, reason=reason)
            self._registry.set_version(model.name, status)
        return reason

    def _keep(self, old: Model | None, name: str, version: int, reason: str) -> str:
        """A load failed: say so, and go on with what was served before, if anything was."""
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

    def _take_out_version(self, name: str, version: int, *, keep: bool = False) -> None:
        """Have a version drain, if it serves; it stays known where ``keep`` says so."""
        entry = self._registry.entries().get(name)
        status = entry.versions.get(version) if entry else None
        self._loaded.pop((name, version), None)
        self._unsettled.pop((name, version), None)
        if status is None or status.state is State.DRAINING:
            return
        left = VersionStatus(number=version, state=State.CLOSED, reason=UNLOADED) if keep else None
        if status.model is None:
            self._registry.replace_version(name, status, left)
            return
        leaving = VersionStatus(number=version, state=State.DRAINING, reason=UNLOADED)
        self._registry.set_version(name, leaving)
        self._drains.begin(status.model).add_done_callback(partial(self._drained, name, leaving, left))

    def _drained(self, name: str, leaving: VersionStatus, left: VersionStatus | None, _closed: Future[bool]) -> None:
        """On the drain's thread. Does nothing where the version has been loaded anew meanwhile."""
        self._registry.replace_version(name, leaving, left)
        _LOG.info("model unloaded", extra={"model": name, "version": leaving.number})

    def _serving(self, name: str, version: int) -> Model | None:
        entry = self._registry.entries().get(name)
        status = entry.versions.get(version) if entry else None
        return status.model if status else None
