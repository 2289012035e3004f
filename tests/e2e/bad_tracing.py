"""Bad requests: trace and log settings. Part of the table in bad_requests.py; callers may change settings there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_server.settings import MIB
from sardonyx_wire.messages import METHODS, LogSettingsRequest, TraceSettingRequest
from tests.e2e.bad_names import ODD_NAMES
from tests.e2e.bad_request import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["log_settings", "trace_settings"]

TRACE: Final = METHODS["TraceSetting"].path
LOG: Final = METHODS["LogSettings"].path
NUMBER: Final = r": expected one whole number from -?\d to 2147483647, got "


def _trace(name: str, *values: str, model: str = "") -> TraceSettingRequest:
    message = TraceSettingRequest(model_name=model)
    message.settings[name].value.extend(values)
    return message


def _log(name: str, **value: bool | int | str) -> LogSettingsRequest:
    message = LogSettingsRequest()
    setting: Any = message.settings[name]
    setting.SetInParent()
    for arm, given in value.items():
        setattr(setting, arm, given)
    return message


def _trace_row(id_: str, name: str, values: Sequence[str], pattern: str, *, field: str | None = None) -> BadRequest:
    return BadRequest(
        id=f"trace-{id_}",
        make=lambda: _trace(name, *values),
        pattern=pattern,
        path=TRACE,
        field=f"settings[{name}]" if field is None else field,
    )


def _log_row(id_: str, name: str, pattern: str, *, field: str | None = None, **value: bool | int | str) -> BadRequest:
    return BadRequest(
        id=f"log-{id_}",
        make=lambda: _log(name, **value),
        pattern=pattern,
        path=LOG,
        field=f"settings[{name}]" if field is None else field,
    )


def trace_settings() -> list[BadRequest]:
    """Rows about TraceSetting."""
    rows = [
        BadRequest(
            id=f"trace-model-{key}",
            make=lambda name=name: TraceSettingRequest(model_name=name),  # type: ignore[misc]  # defaults bind the loop
            code=grpc.StatusCode.NOT_FOUND,
            pattern=r"^unknown model '.*'( \(1,048,576 characters\))?: this server has 'add_sub', ",
            path=TRACE,
        )
        for key, name in ODD_NAMES.items()
    ]
    rows += [
        _trace_row(
            f"setting-{key}",
            name,
            ["1"],
            r"^unknown trace setting '.*'( \(1,048,576 characters\))?: expected one of log_f",
            field="settings",
        )
        for key, name in {**ODD_NAMES, "empty": "", "other-case": "Trace_Rate"}.items()
    ]
    numbers = ["", "0.5", "-7", "x", "1e9", "007x", "\u0663", "9" * 5000, "1" * MIB, "2147483648", "\0", "1\n"]
    rows += [
        _trace_row(f"{name}-{text[:8]!r}-{len(text)}", name, [text], f"^setting '{name}'{NUMBER}'")
        for name in ("trace_rate", "trace_count", "log_frequency")
        for text in numbers
    ]
    rows += [
        _trace_row("rate-0", "trace_rate", ["0"], f"^setting 'trace_rate'{NUMBER}'0'$"),
        _trace_row("rate-many", "trace_rate", ["1"] * 100_000, f"^setting 'trace_rate'{NUMBER}100000 values$"),
        _trace_row(
            "level-unknown", "trace_level", ["MAX"], "^setting 'trace_level': expected OFF or TIMESTAMPS, got 'M"
        ),
        _trace_row(
            "level-tensors", "trace_level", ["TENSORS"], "since tensors of callers are never written, got 'TENS"
        ),
        _trace_row("level-both", "trace_level", ["OFF", "TIMESTAMPS"], "expected OFF or TIMESTAMPS, got 2 values$"),
        _trace_row(
            "file", "trace_file", ["/etc/cron.d/x"], "^setting 'trace_file': a caller cannot choose where traces go"
        ),
        _trace_row("file-1-mb", "trace_file", ["../" * MIB], "^setting 'trace_file': a caller cannot choose where"),
        _trace_row(
            "mode", "trace_mode", ["opentelemetry"], "^setting 'trace_mode': expected 'triton', which is in force, got"
        ),
        BadRequest(
            id="trace-no-destination",
            make=lambda: _trace("trace_level", "TIMESTAMPS"),
            code=grpc.StatusCode.UNAVAILABLE,
            pattern="^setting 'trace_level': traces have nowhere to go; the operator names a folder .* --trace-dir",
            path=TRACE,
        ),
        BadRequest(
            id="trace-malformed",
            make=lambda: b"\x0a\xff",
            pattern="^request of TraceSetting: expected a Tr",
            path=TRACE,
        ),
    ]
    return rows


def log_settings() -> list[BadRequest]:
    """Rows about LogSettings."""
    rows = [
        _log_row(
            f"setting-{key}",
            name,
            r"^unknown log setting '.*'( \(1,048,576 characters\))?: expected one of log_e",
            field="settings",
            bool_param=True,
        )
        for key, name in {**ODD_NAMES, "empty": "", "plural": "log_errors"}.items()
    ]
    for name in ("log_info", "log_warning", "log_error"):
        expected = f"^setting '{name}': expected a boolean, got "
        rows += [
            _log_row(f"{name}-number", name, f"{expected}uint32_param$", uint32_param=1),
            _log_row(f"{name}-text", name, f"{expected}string_param$", string_param="true"),
            _log_row(f"{name}-nothing", name, f"{expected}no value$"),
        ]
    verbose = "^setting 'log_verbose_level': expected a uint32, got "
    where = "^setting 'log_file': a caller cannot choose where the log goes"
    rows += [
        _log_row("verbose-switch", "log_verbose_level", f"{verbose}bool_param$", bool_param=True),
        _log_row("verbose-text", "log_verbose_level", f"{verbose}string_param$", string_param="1"),
        _log_row("file", "log_file", where, string_param="/etc/cron.d/x"),
        _log_row("file-1-mb", "log_file", where, string_param="x" * MIB),
        _log_row("file-nothing", "log_file", where),
        _log_row(
            "format", "log_format", "^setting 'log_format': expected '.*', which is in force", string_param="ISO8601"
        ),
        _log_row("format-escapes", "log_format", r", got '\\x1b\[2J'", string_param="\x1b[2J"),
        BadRequest(
            id="log-malformed", make=lambda: b"\x0a\xff", pattern="^request of LogSettings: expected a Lo", path=LOG
        ),
    ]
    return rows
