"""Which models there are, and which answers a request.

Read without a lock: readers see one immutable mapping or the next.
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
    """The models of the server. Written by the thread that loads and by those that drain, read by any.

    Attributes:
        refusals: Inference requests that no model that is ready was found for, or that nobody may make.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: Mapping[str, Entry] = MappingProxyType({})
        self._routes: dict[tuple[str, str], Model] = {}
        self._listeners: list[Callable[[str], None]] = []
        self.refusals = Failures()

    def entries(self) -> Mapping[str, Entry]:
        """Every known model, as of now."""
        return self._entries

    def find(self, route: tuple[str, str]) -> Model:
        """The model that answers requests to (name, version as sent); version "" is the newest ready one.

        Raises:
            NotFound: No such model or version.
            InvalidRequest: The version is no positive integer.
            ModelUnavailable: It is loading, draining or failed.
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
        """Have ``listener(name of the model)`` called after each change, on the thread that made it."""
        with self._lock:
            self._listeners.append(listener)

    def announce(self, versions: Mapping[str, Iterable[int]]) -> None:
        """Make models known that shall be loaded, as NEW: to callers they are not ready, rather than not there.

        Args:
            versions: Of each model. Models that are known stay as they are.
        """
        with self._lock:
            new = {
                name: Entry(name=name, versions=MappingProxyType({number: _new(number) for number in sorted(numbers)}))
                for name, numbers in versions.items()
                if name not in self._entries
            }
            # Routes stay: nothing of it is ready.
            self._entries = MappingProxyType({**self._entries, **new})
            for name in new:
                for listener in self._listeners:
                    listener(name)

    def set_version(self, name: str, status: VersionStatus) -> None:
        """Put a version into a state. Requests see it from the next look-up on."""
        with self._lock:
            entry = self._entries.get(name)
            versions = dict(entry.versions) if entry else {}
            versions[status.number] = status
            self._publish(Entry(name=name, versions=MappingProxyType(dict(sorted(versions.items())))))

    def replace_version(self, name: str, old: VersionStatus, new: VersionStatus | None) -> None:
        """Put a version that still is as ``old`` says into another state; else do nothing.

        Args:
            name: The model's.
            old: What the version was put into: this very object.
            new: The state of the same version; None forgets the version, and the model with its last one.
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
        """Say why a model cannot be served as a whole. Versions that work stay."""
        with self._lock:
            entry = self._entries.get(name)
            versions = entry.versions if entry else MappingProxyType({})
            self._publish(Entry(name=name, versions=versions, problem=problem))

    def drop(self, name: str) -> None:
        """Forget a model."""
        with self._lock:
            if name in self._entries:
                self._publish_removal(name)

    def _publish(self, entry: Entry) -> None:
        self._replace(entry.name, {**self._entries, entry.name: entry})

    def _publish_removal(self, name: str) -> None:
        self._replace(name, {key: entry for key, entry in self._entries.items() if key != name})

    def _replace(self, name: str, entries: dict[str, Entry]) -> None:
        """Show these models from now on, of which one has changed."""
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
