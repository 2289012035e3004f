"""TraceSetting: which requests are traced, read by anybody and changed where the operator allows it.

Every value travels as a list of texts. A setting without a value goes back: a model's to the server's, the server's to
the one at start. Where traces go is the operator's alone: a caller never chooses a path.
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
# The protocol's name -> ours, and the least it may be.
_NUMBERS: Final = {"trace_rate": ("rate", 1), "trace_count": ("count", UNLIMITED), "log_frequency": ("group", 0)}
_LEVEL: Final = "trace_level"


class Traces(Protocol):
    """Who chooses requests: :class:`~sardonyx_server.engine.telemetry.sampling.Sampler`, or a double."""

    def settings(self, model: str = "") -> Settings:
        """What is in force for a model, or for the server."""

    def update(self, changes: Mapping[str, int | None], model: str = "") -> Settings:
        """Change it, and tell what is in force then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where traces go, as callers are told.

    Attributes:
        file: Name of the file without its folder; "" where none is written.
        mode: ``opentelemetry`` where spans are sent, else ``triton``; Triton's words.
        exists: Whether traces go anywhere.
    """

    file: str
    mode: str
    exists: bool

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        """What the operator set."""
        to_file, to_collector = settings.trace_dir is not None, settings.trace_otlp_endpoint is not None
        return cls(
            file=FILE_NAME if to_file else "",
            mode="opentelemetry" if to_collector else "triton",
            exists=to_file or to_collector,
        )


class TraceSettings:
    """Answers TraceSetting. Any thread.

    Args:
        registry: Which models there are.
        traces: What is read and changed.
        destination: Where traces go.
        allow_admin: Whether callers may change settings.
    """

    __slots__ = ("_allow_admin", "_destination", "_registry", "_traces")

    def __init__(self, registry: Registry, traces: Traces, destination: Destination, *, allow_admin: bool) -> None:
        self._registry = registry
        self._traces = traces
        self._destination = destination
        self._allow_admin = allow_admin

    def answer(self, request: TraceSettingRequest) -> TraceSettingResponse:
        """Change the settings that are given, all of them or none, and tell what is in force then.

        Raises:
            NotFound: No such model.
            InvalidRequest: A setting is unknown, has a wrong value, or is the operator's alone.
            TryLater: Settings are given and callers may not change them, or traces have nowhere to go.
        """
        model = request.model_name
        if model and model not in self._registry.entries():
            self._registry.get(model)  # It knows best how to say that there is none.
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
        """Settings that cannot be changed pass where they say what is so already."""
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
    # int() would take more than a number is made of: spaces, underscores, digits of other scripts.
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
