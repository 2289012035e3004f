"""TraceSetting: which requests are traced. Anybody may read it; the operator decides if callers may change it.

Every value is sent as a list of strings. A setting without a value is reset: that of a model to the server's, that of
the server to its value at start. Only the operator chooses the destination of traces: a caller never chooses a path.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from sardonyx_server.engine.telemetry.sampling import UNLIMITED
from sardonyx_server.errors import InvalidRequest, TryLater
from sardonyx_server.observe.trace_file import FILE_NAME
from sardonyx_server.rpc.other_rpcs.admin import require_admin
from sardonyx_server.text import quoted
from sardonyx_wire.messages import TraceSettingResponse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.telemetry.sampling import TraceSettings as Settings
    from sardonyx_server.settings import Settings as ServerSettings
    from sardonyx_wire.messages import TraceSettingRequest

__all__ = ["Destination", "TraceSettings", "Traces"]

_LOG = logging.getLogger("sardonyx.rpc")

_OFF: Final = "OFF"
_TIMESTAMPS: Final = "TIMESTAMPS"
_TENSORS: Final = "TENSORS"
_MAX_NUMBER: Final = 2**31 - 1
# The protocol's name -> (our name, least value).
_NUMBERS: Final = {"trace_rate": ("rate", 1), "trace_count": ("count", UNLIMITED), "log_frequency": ("group", 0)}
_LEVEL: Final = "trace_level"


class Traces(Protocol):
    """Chooses the requests to trace: :class:`~sardonyx_server.engine.telemetry.sampling.Sampler`, or a test double."""

    def settings(self, model: str = "") -> Settings:
        """The settings in force for a model, or for the server."""

    def update(self, changes: Mapping[str, int | None], model: str = "") -> Settings:
        """Change settings; returns the settings in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The destination of traces, as it is shown to callers.

    Attributes:
        file: Name of the trace file without its folder; "" if none is written.
        mode: ``opentelemetry`` if spans are sent, else ``triton``; Triton's terms.
        exists: Whether there is any destination.
    """

    file: str
    mode: str
    exists: bool

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        """The destination that the settings name."""
        to_file, to_collector = settings.trace_dir is not None, settings.trace_otlp_endpoint is not None
        return cls(
            file=FILE_NAME if to_file else "",
            mode="opentelemetry" if to_collector else "triton",
            exists=to_file or to_collector,
        )


class TraceSettings:
    """Answers TraceSetting. Any thread.

    Args:
        registry: The registry of models.
        traces: The settings that are read and changed.
        destination: The destination of traces.
        allow_admin: Whether callers may change settings.
    """

    __slots__ = ("_allow_admin", "_destination", "_registry", "_traces")

    def __init__(self, registry: Registry, traces: Traces, destination: Destination, *, allow_admin: bool) -> None:
        self._registry = registry
        self._traces = traces
        self._destination = destination
        self._allow_admin = allow_admin

    def answer(self, request: TraceSettingRequest) -> TraceSettingResponse:
        """Apply the given settings, all or none, and return the settings in force.

        Raises:
            NotFound: The model does not exist.
            InvalidRequest: A setting is unknown, has a wrong value, or only the operator may change it.
            TryLater: Settings are given, and callers may not change them or traces have no destination.
        """
        model = request.model_name
        if model and model not in self._registry.entries():
            self._registry.get(model)  # Raises the NotFound of the registry.
        if not request.settings:
            return self._response(self._traces.settings(model))
        require_admin("changing trace settings", allowed=self._allow_admin)
        changes: dict[str, int | None] = {}
        for name in request.settings:
            values = tuple(request.settings[name].value)
            if name in _NUMBERS:
                field, least = _NUMBERS[name]
                changes[field] = _number(name, values, least)
            elif name == _LEVEL:
                changes["traces"] = _level(values)
            else:
                self._refuse_other(name, values)
        if changes.get("traces") and not self._destination.exists:
            raise TryLater(
                "setting 'trace_level': traces have nowhere to go; the operator names a folder for them with "
                "--trace-dir, or a collector with --trace-otlp-endpoint",
                reason="NO_TRACE_DESTINATION",
            )
        settings = self._traces.update(changes, model)
        _LOG.info("trace settings changed by a caller", extra={"model": model, **changes})
        return self._response(settings)

    def _refuse_other(self, name: str, values: Sequence[str]) -> None:
        """Refuse a setting that cannot be changed, unless its value is the one in force."""
        if name == "trace_file":
            if values and values != (self._destination.file,):
                raise InvalidRequest(
                    "setting 'trace_file': a caller cannot choose where traces go; the operator does with --trace-dir",
                    field="settings[trace_file]",
                )
        elif name == "trace_mode":
            if values and values != (self._destination.mode,):
                raise InvalidRequest(
                    f"setting 'trace_mode': expected '{self._destination.mode}', which is in force, got "
                    f"{_shown(values)}; the operator chooses it with --trace-dir and --trace-otlp-endpoint",
                    field="settings[trace_mode]",
                )
        else:
            known = ", ".join(sorted((*_NUMBERS, _LEVEL, "trace_file", "trace_mode")))
            raise InvalidRequest(f"unknown trace setting {quoted(name)}: expected one of {known}", field="settings")

    def _response(self, settings: Settings) -> TraceSettingResponse:
        response = TraceSettingResponse()
        texts = {
            _LEVEL: _TIMESTAMPS if settings.traces else _OFF,
            "trace_rate": str(settings.rate),
            "trace_count": str(settings.count),
            "log_frequency": str(settings.group),
            "trace_file": self._destination.file,
            "trace_mode": self._destination.mode,
        }
        for name, text in texts.items():
            response.settings[name].value.append(text)
        return response


def _level(values: Sequence[str]) -> bool | None:
    if not values:
        return None
    if values in {(_OFF,), (_TIMESTAMPS,)}:
        return values == (_TIMESTAMPS,)
    reason = ", since tensors of callers are never written" if _TENSORS in values else ""
    raise InvalidRequest(
        f"setting '{_LEVEL}': expected {_OFF} or {_TIMESTAMPS}{reason}, got {_shown(values)}",
        field=f"settings[{_LEVEL}]",
    )


def _number(name: str, values: Sequence[str], least: int) -> int | None:
    if not values:
        return None
    text = values[0]
    digits = text.removeprefix("-")
    # int() would also accept spaces, underscores and digits of other scripts.
    if len(values) == 1 and digits.isascii() and digits.isdigit() and len(digits) <= len(str(_MAX_NUMBER)):
        number = int(text)
        if least <= number <= _MAX_NUMBER:
            return number
    raise InvalidRequest(
        f"setting '{name}': expected one whole number from {least} to {_MAX_NUMBER}, got {_shown(values)}",
        field=f"settings[{name}]",
    )


def _shown(values: Sequence[str]) -> str:
    return quoted(values[0]) if len(values) == 1 else f"{len(values)} values"
