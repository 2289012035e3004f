"""Which models there are, and in which state. Read without a lock: readers see one immutable mapping or the next.

States of a version:

    NEW -> LOADING -> WARMING -> READY -> DRAINING -> CLOSED -> LOADING
              any of the first three -> FAILED(reason)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.counting.failures import Failures
from sardonyx_server.errors import InvalidRequest, ModelUnavailable, NotFound
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sardonyx_server.engine.running.model import Model

__all__ = ["Entry", "Registry", "State", "VersionStatus"]

_RETRY_LOADING_S: Final = 1.0
_NOT_YET: Final = "others are loaded before it"
# The protocol's versions are 64-bit integers.
_MAX_DIGITS: Final = 19
_NAMES_SHOWN: Final = 8


class State(StrEnum):
    """State of one version."""

    NEW = "NEW"
    LOADING = "LOADING"
    WARMING = "WARMING"
    READY = "READY"
    DRAINING = "DRAINING"
    CLOSED = "CLOSED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatus:
    """One version of a model.

    Attributes:
        number: The version.
        state: Where it stands.
        reason: Why, where the state is not READY; safe for callers.
        model: Set while READY.
    """

    number: int
    state: State
    reason: str = ""
    model: Model | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One known model.

    Attributes:
        name: Its name.
        versions: By number, ascending; empty for a model that is broken as a whole, or was never loaded.
        problem: Why the model as a whole cannot be served; "" where it can.
    """

    name: str
    versions: Mapping[int, VersionStatus]
    problem: str = ""

    @property
    def newest_ready(self) -> Model | None:
        """The version that answers requests which name none."""
        ready = [status.model for status in self.versions.values() if status.model is not None]
        return ready[-1] if ready else None

    @property
    def is_unloaded(self) -> bool:
        """Whether it is not served because somebody took it out."""
        states = {status.state for status in self.versions.values()}
        return bool(states) and states <= {State.DRAINING, State.CLOSED}


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
            raise self._why_not(*route)
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
        reason = self._why_not(name, version)
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

    def _why_not(self, name: str, version: str) -> NotFound | InvalidRequest | ModelUnavailable:
        if version and not (version.isascii() and version.isdigit() and version[0] != "0"):
            return InvalidRequest(
                f"version {quoted(version)} of model {quoted(name)}: expected a positive integer without leading "
                "zeros, or none for the newest",
                field="model_version",
            )
        entry = self._entries.get(name)
        if entry is None:
            return NotFound(
                f"unknown model {quoted(name)}: {self._known()}"
                if name
                else f"the model name is empty: {self._known()}",
                reason="MODEL_NOT_FOUND",
            )
        if not entry.versions and not entry.problem:
            return ModelUnavailable(f"model '{name}' has not been loaded", reason="MODEL_NOT_LOADED")
        if not version:
            newest = max(entry.versions.values(), key=lambda status: status.number, default=None)
            return _unavailable(f"model '{name}'", newest, entry.problem)
        status = entry.versions.get(int(version)) if len(version) <= _MAX_DIGITS else None
        if status is None and entry.problem and not entry.versions:
            return _unavailable(f"model '{name}'", None, entry.problem)
        if status is None:
            known = ", ".join(map(str, entry.versions)) or "none"
            return NotFound(
                f"unknown version {quoted(version)} of model '{name}': known versions are {known}",
                reason="VERSION_NOT_FOUND",
            )
        return _unavailable(f"version {version} of model '{name}'", status, entry.problem)

    def _known(self) -> str:
        names = list(self._entries)
        shown = ", ".join(f"'{name}'" for name in names[:_NAMES_SHOWN])
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        return f"this server has {shown or 'no models'}{more}"


def _new(number: int) -> VersionStatus:
    return VersionStatus(number=number, state=State.NEW, reason=_NOT_YET)


def _unavailable(what: str, status: VersionStatus | None, problem: str) -> ModelUnavailable:
    if status is None or status.state is State.FAILED:
        reason = status.reason if status else problem
        return ModelUnavailable(f"{what} failed to load: {reason}", reason="MODEL_FAILED")
    if status.state is State.CLOSED:
        return ModelUnavailable(f"{what} is not loaded: {status.reason}", reason="MODEL_NOT_LOADED")
    return ModelUnavailable(
        f"{what} is not ready: {status.state.lower()}" + (f" ({status.reason})" if status.reason else ""),
        retry_after_s=_RETRY_LOADING_S,
    )
