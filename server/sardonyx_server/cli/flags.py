"""The fields of ``Settings`` as flags and environment variables, with help and allowed values.

The single source for help, documentation and error messages. Values are parsed and validated by pydantic.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from sardonyx_server.setting_types import ValueHelp, format_size
from sardonyx_server.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["PREFIX", "SETTINGS", "Setting", "flag"]

PREFIX = "SARDONYX_"
_SECOND_FLAGS = {"host": ("--grpc-address",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting.

    ``flags`` are its names on the command line; messages use the first. ``metavar`` stands for a value in help;
    ``allowed`` completes the sentence "expected ...".
    """

    doc: str
    flags: tuple[str, ...]
    variable: str
    metavar: str
    allowed: str
    default: object

    def show(self, value: object) -> str:
        """Format a value as an operator would write it."""
        if value is None:
            return "off"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return f"{value:g}"
        if isinstance(value, tuple):
            return (os.pathsep if self.metavar == "PATH" else ",").join(map(str, value))
        return format_size(value) if isinstance(value, int) and self.metavar == "BYTES" else str(value)


def flag(name: str) -> Any:
    """The typer option of one setting. Its value stays text, so that pydantic parses all sources alike."""
    import typer

    setting = SETTINGS[name]
    default = setting.show(setting.default) or "nothing"
    return typer.Option(
        *setting.flags, help=f"{setting.doc} Default: {default}.", metavar=setting.metavar, show_default=False
    )


def _setting(name: str, field: FieldInfo) -> Setting:
    choices = get_args(field.annotation)  # of a Literal; every other field has a ValueHelp
    kinds = [one for one in field.metadata if isinstance(one, ValueHelp)]
    kind = kinds[0] if kinds else ValueHelp("|".join(choices), f"one of {', '.join(choices)}")
    limits = {key: getattr(one, key) for one in field.metadata for key in ("ge", "le") if hasattr(one, key)}
    shown = {key: format_size(limit) if kind.metavar == "BYTES" else str(limit) for key, limit in limits.items()}
    return Setting(
        doc=field.description or "",
        flags=(f"--{name.replace('_', '-')}", *_SECOND_FLAGS.get(name, ())),
        variable=f"{PREFIX}{name.upper()}",
        metavar=kind.metavar,
        allowed=kind.allowed
        + (f" from {shown['ge']}" if "ge" in shown else "")
        + (f" to {shown['le']}" if "le" in shown else ""),
        default=field.default,
    )


SETTINGS = {name: _setting(name, field) for name, field in Settings.model_fields.items()}
