"""Where settings come from: flags, then SARDONYX_* variables, then a TOML file, then defaults.

OTEL_EXPORTER_OTLP_ENDPOINT, which platforms set for every program, stands in for trace_otlp_endpoint where nothing else
does. Makes one ``Settings`` of them and remembers the origin of each value; the one place where pydantic's errors
become lines for an operator. Does not look at the disk behind the values (that a repository exists is checked by the
verb).
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from sardonyx_server.cli.flags import PREFIX, SETTINGS
from sardonyx_server.errors import SettingsError
from sardonyx_server.observe import otel
from sardonyx_server.runtime.catalogue import check_requested
from sardonyx_server.setting_types import expand_home
from sardonyx_server.settings import Settings

__all__ = ["CONFIG_VARIABLE", "OTLP_VARIABLE", "Loaded", "Origin", "load"]

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
# Other SARDONYX_* variables with a meaning: not settings of the server, so never reported as a misspelled one.
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, "SARDONYX_TRACEBACK", "SARDONYX_URL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value was set: ``where`` is the flag, the variable, or the key with its file."""

    source: Literal["flag", "environment", "file", "default"]
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings in force, the origin of each by field name, and what the operator should be told about them.

    ``config`` is the settings file that was read, "" where there was none.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]
    config: str = ""


class _Variables(Settings, BaseSettings):
    """The fields of ``Settings``, for pydantic-settings to look up in the environment."""

    # Undecoded: a list is written with commas, not as JSON.
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, enable_decoding=False)


# Field name, or unknown key -> raw value and where it was set.
_Found = dict[str, tuple[Any, Origin]]


def load(*, flags: Mapping[str, object], config: str | None = None) -> Loaded:
    """Puts the sources together; the first that names a field wins, and what it hides is not even checked.

    Args:
        flags: Field name -> raw value; None and empty lists count as not given.
        config: Path of a TOML file from ``--config``; None looks at ``SARDONYX_CONFIG``.

    Raises:
        SettingsError: A value is not allowed, a key of the file is unknown, or the file cannot be read.
    """
    variables, ignored = _from_variables()
    standard, unused = _from_opentelemetry()
    found = standard | _from_file(config) | variables | _from_flags(flags)
    try:
        settings = Settings.model_validate({name: raw for name, (raw, _) in found.items()})
    except ValidationError as error:
        raise _refused(str(error.errors()[0]["loc"][0]), found) from None
    origins = dict.fromkeys(SETTINGS, Origin(source="default", where="default"))
    origins |= {name: origin for name, (_, origin) in found.items()}
    try:
        check_requested(settings.providers)
    except SettingsError as error:
        raise SettingsError(f"{origins['providers'].where}: {error.message.removeprefix('providers: ')}") from None
    return Loaded(
        settings=settings,
        origins=origins,
        warnings=(*ignored, *unused, *_misspelled()),
        config=config or os.environ.get(CONFIG_VARIABLE, ""),
    )


def _from_flags(flags: Mapping[str, object]) -> _Found:
    return {
        name: (raw, Origin(source="flag", where=SETTINGS[name].flags[0]))
        for name, raw in flags.items()
        if raw is not None and raw != []
    }


def _from_variables() -> tuple[_Found, list[str]]:
    found: _Found = {}
    ignored = []
    for name, raw in EnvSettingsSource(_Variables)().items():
        variable = SETTINGS[name].variable
        if raw.startswith("tcp://") and name.endswith("_port"):
            # Kubernetes sets <SERVICE>_PORT=tcp://... in every pod: a service called sardonyx-grpc lands on our name.
            ignored.append(f"{variable} is ignored: {raw!r} is a link that Kubernetes made for a service")
        else:
            found[name] = (raw, Origin(source="environment", where=variable))
    return found, ignored


def _from_opentelemetry() -> tuple[_Found, list[str]]:
    endpoint = os.environ.get(OTLP_VARIABLE, "")
    if not endpoint:
        return {}, []
    if not otel.is_installed():
        # Not an error as with --trace-otlp-endpoint: the variable may well be meant for another program.
        return {}, [f"{OTLP_VARIABLE} has no effect: {otel.MISSING}"]
    return {"trace_otlp_endpoint": (endpoint, Origin(source="environment", where=OTLP_VARIABLE))}, []


def _from_file(config: str | None) -> _Found:
    named_by, name = ("--config", config) if config else (CONFIG_VARIABLE, os.environ.get(CONFIG_VARIABLE))
    if not name:
        return {}
    # Not by pydantic-settings' TomlConfigSettingsSource: to it, a file that is missing is an empty one.
    try:
        document = tomllib.loads(expand_home(Path(name)).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{named_by}: cannot read {name!r}: {error.strerror}") from None
    except ValueError as error:  # also what is no UTF-8
        raise SettingsError(f"{named_by}: {name!r} is not valid TOML: {' '.join(str(error).split())}") from None
    return {key: (raw, Origin(source="file", where=f"{name}: {key}")) for key, raw in document.items()}


def _refused(name: str, found: _Found) -> SettingsError:
    """One line for the first thing that pydantic refuses, in the operator's words."""
    raw, origin = found[name]
    if name in SETTINGS:
        return SettingsError(f"{origin.where}: expected {SETTINGS[name].allowed}, got {raw!r}")
    close = difflib.get_close_matches(name.replace("-", "_").lower(), SETTINGS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "'sardonyx serve --show-settings' lists all"
    return SettingsError(f"{origin.where}: no setting has this name; {hint}")


def _misspelled() -> list[str]:
    known = [setting.variable for setting in SETTINGS.values()]
    found = []
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable not in known and variable not in OTHER_VARIABLES:
            # Only near misses: a platform may set SARDONYX_* variables of its own, and they are no mistake.
            close = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
            if close:
                found.append(f"{variable} is no setting and has no effect; did you mean {close[0]}?")
    return found
