"""The registry of models: every known model, and the route from a request to the model that answers it.

Read without a lock: each change replaces an immutable mapping, and readers see the old or the new one.
"""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.models.lookup_errors import lookup_error
from sardonyx_server.engine.models.states import Entry, State, VersionStatus
from sardonyx_server.engine.telemetry.failures import Failures
from sardonyx_server.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sardonyx_server.engine.running.model import Model

__all__ = ["Registry"]

_NOT_YET: Final = "others are loaded before it"


class Registry:
    """The models of the server. Written by the loader's thread and by drain threads, read by any thread.

    Attributes:
        refusals: Failures of inference requests for which no ready model was found, or that are not allowed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: Mapping[str, Entry] = MappingProxyType({})
        self._routes: dict[tuple[str, str], Model] = {}
        self._listeners: list[Callable[[str], None]] = []
        self.refusals = Failures()

    def entries(self) -> Mapping[str, Entry]:
        """Every known model, at present."""
        return self._entries

    def find(self, route: tuple[str, str]) -> Model:
        """Return the model that answers requests to (name, version as sent); version "" is the newest ready one.

        Raises:
            NotFound: No such model or version.
            InvalidRequest: The version is no positive integer.
            ModelUnavailable: It is loading, is draining, or has failed.
        """
        model = self._routes.get(route)
        if model is None:
            raise lookup_error(self._entries, *route)
        return model

    def get(self, name: str, version: str = "") -> Model:
        """Like :meth:`find`."""
        return self.find((name, version))

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether requests to this model and version are answered.

        Raises:
            NotFound: No such model or version.
            InvalidRequest: The version is no positive integer.
        """
        if (name, version) in self._routes:
            return True
        reason = lookup_error(self._entries, name, version)
        if isinstance(reason, ModelUnavailable):
            return False
        raise reason

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call ``listener(name of the model)`` after each change, on the thread that made it."""
        with self._lock:
            self._listeners.append(listener)

    def announce(self, versions: Mapping[str, Iterable[int]]) -> None:
        """Register models that are to be loaded, as NEW, so that callers hear "not ready" instead of "unknown model".

        Args:
            versions: Version numbers by model. Known models stay as they are.
        """
        with self._lock:
            new = {
                name: Entry(name=name, versions=MappingProxyType({number: _new(number) for number in sorted(numbers)}))
                for name, numbers in versions.items()
                if name not in self._entries
            }
            # Routes do not change: none of the new models is ready.
            self._entries = MappingProxyType({**self._entries, **new})
            for name in new:
                for listener in self._listeners:
                    listener(name)

    def set_version(self, name: str, status: VersionStatus) -> None:
        """Set the status of a version. Requests see it from the next look-up on."""
        with self._lock:
            entry = self._entries.get(name)
            versions = dict(entry.versions) if entry else {}
            versions[status.number] = status
            self._publish(Entry(name=name, versions=MappingProxyType(dict(sorted(versions.items())))))

    def replace_version(self, name: str, old: VersionStatus, new: VersionStatus | None) -> None:
        """Compare and swap: replace the status of a version if it is still ``old``; otherwise do nothing.

        Args:
            name: Name of the model.
            old: The expected status, compared by identity.
            new: The new status of the same version; None removes the version, and the model with its last one.
        """
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or entry.versions.get(old.number) is not old:
                return
            versions = {key: status for key, status in entry.versions.items() if key != old.number}
            if new is not None:
                versions = dict(sorted((versions | {new.number: new}).items()))
            if versions:
                self._publish(Entry(name=name, versions=MappingProxyType(versions)))
            else:
                self._publish_removal(name)

    def set_problem(self, name: str, problem: str) -> None:
        """Record why a model as a whole cannot be served. Versions that work stay."""
        with self._lock:
            entry = self._entries.get(name)
            versions = entry.versions if entry else MappingProxyType({})
            self._publish(Entry(name=name, versions=versions, problem=problem))

    def drop(self, name: str) -> None:
        """Remove a model."""
        with self._lock:
            if name in self._entries:
                self._publish_removal(name)

    def _publish(self, entry: Entry) -> None:
        self._replace(entry.name, {**self._entries, entry.name: entry})

    def _publish_removal(self, name: str) -> None:
        self._replace(name, {key: entry for key, entry in self._entries.items() if key != name})

    def _replace(self, name: str, entries: dict[str, Entry]) -> None:
        """Publish these entries, of which the named one has changed."""
        routes: dict[tuple[str, str], Model] = {}
        for entry in entries.values():
            for status in entry.versions.values():
                if status.model is not None:
                    routes[entry.name, str(status.number)] = status.model
                    routes[entry.name, ""] = status.model
        self._entries = MappingProxyType(entries)
        self._routes = routes
        for listener in self._listeners:
            listener(name)


def _new(number: int) -> VersionStatus:
    return VersionStatus(number=number, state=State.NEW, reason=_NOT_YET)
