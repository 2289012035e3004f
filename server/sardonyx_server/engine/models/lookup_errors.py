"""The error for a request whose model or version is unknown or not ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.models.states import State
from sardonyx_server.errors import InvalidRequest, ModelUnavailable, NotFound
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_server.engine.models.states import Entry, VersionStatus

__all__ = ["lookup_error"]

_RETRY_LOADING_S: Final = 1.0
# The protocol's versions are 64-bit integers.
_MAX_DIGITS: Final = 19
_NAMES_SHOWN: Final = 8


def lookup_error(entries: Mapping[str, Entry], name: str, version: str) -> NotFound | InvalidRequest | ModelUnavailable:
    """Return the error for a name and a version that no ready model has.

    Args:
        entries: Every known model; none is ready under that name and version.
        name: As sent.
        version: As sent; "" for the newest.
    """
    if version and not (version.isascii() and version.isdigit() and version[0] != "0"):
        return InvalidRequest(
            f"version {quoted(version)} of model {quoted(name)}: expected a positive integer without leading "
            "zeros, or none for the newest",
            field="model_version",
        )
    entry = entries.get(name)
    if entry is None:
        return NotFound(
            f"unknown model {quoted(name)}: {_known(entries)}"
            if name
            else f"the model name is empty: {_known(entries)}",
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


def _known(entries: Mapping[str, Entry]) -> str:
    names = list(entries)
    shown = ", ".join(f"'{name}'" for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"this server has {shown or 'no models'}{more}"


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
