"""Loads ``Settings`` from their sources. Precedence: flags, SARDONYX_* environment variables, TOML file, defaults.

OTEL_EXPORTER_OTLP_ENDPOINT, which platforms set for every program, is the fallback for trace_otlp_endpoint. The origin
of each value is recorded, and pydantic's errors are turned into one-line messages here. Whether paths exist is checked
by the command, not here.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from sardonyx_server.cli.credentials import TOKEN_VARIABLE
from sardonyx_server.cli.flags import PREFIX, SETTINGS
from sardonyx_server.errors import SettingsError
from sardonyx_server.observe import otel
from sardonyx_server.runtime.catalogue import check_requested
from sardonyx_server.setting_types import expand_home
from sardonyx_server.settings import Settings

__all__ = ["CONFIG_VARIABLE", "OTLP_VARIABLE", "LoadedSettings", "Origin", "load_settings"]

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
# SARDONYX_* variables that are not settings of the server; never reported as misspelled.
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, TOKEN_VARIABLE, "SARDONYX_TRACEBACK", "SARDONYX_URL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The source of a value; ``where`` is the flag, the environment variable, or the file and key."""

    source: Literal["flag", "environment", "file", "default"]
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """The settings, the origin of each by field name, and warnings for the operator.

    ``config`` is the settings file that was read; "" = none.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]
    config: str = ""


class _EnvironmentSettings(Settings, BaseSettings):
    """The fields of ``Settings`` for pydantic-settings to read from the environment."""

    # No decoding: lists are comma-separated, not JSON.
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, enable_decoding=False)


# Field name, or unknown key of the file -> raw value and its origin.
_RawValues = dict[str, tuple[Any, Origin]]


def load_settings(*, flags: Mapping[str, object], config: str | None = None) -> LoadedSettings:
    """Merges the sources. The first that sets a field wins; values it overrides are not validated.

    Args:
        flags: Field name -> raw value; None and empty lists mean not set.
        config: Path of a TOML file from ``--config``; None = from ``SARDONYX_CONFIG``.

    Raises:
        SettingsError: A value is not allowed, a key of the file is unknown, or the file cannot be read.
    """
    variables, ignored = _from_environment()
    standard, unused = _from_opentelemetry()
    found = standard | _from_file(config) | variables | _from_flags(flags)
    try:
        settings = Settings.model_validate({name: raw for name, (raw, _) in found.items()})
    except ValidationError as error:
        raise _invalid_value(str(error.errors()[0]["loc"][0]), found) from None
    origins = dict.fromkeys(SETTINGS, Origin(source="default", where="default"))
    origins |= {name: origin for name, (_, origin) in found.items()}
    try:
        check_requested(settings.providers)
    except SettingsError as error:
        raise SettingsError(f"{origins['providers'].where}: {error.message.removeprefix('providers: ')}") from None
    return LoadedSettings(
        settings=settings,
        origins=origins,
        warnings=(*ignored, *unused, *_misspelled(), *_unencrypted(settings)),
        config=config or os.environ.get(CONFIG_VARIABLE, ""),
    )


def _from_flags(flags: Mapping[str, object]) -> _RawValues:
    return {
        name: (raw, Origin(source="flag", where=SETTINGS[name].flags[0]))
        for name, raw in flags.items()
        if raw is not None and raw != []
    }


def _from_environment() -> tuple[_RawValues, list[str]]:
    found: _RawValues = {}
    ignored = []
    for name, raw in EnvSettingsSource(_EnvironmentSettings)().items():
        variable = SETTINGS[name].variable
        if raw.startswith("tcp://") and name.endswith("_port"):
            # Kubernetes sets <SERVICE>_PORT=tcp://... in every pod; for a service sardonyx-grpc that is our variable.
            ignored.append(f"{variable} is ignored: {raw!r} is a service link set by Kubernetes")
        else:
            found[name] = (raw, Origin(source="environment", where=variable))
    return found, ignored


def _from_opentelemetry() -> tuple[_RawValues, list[str]]:
    endpoint = os.environ.get(OTLP_VARIABLE, "")
    if not endpoint:
        return {}, []
    if not otel.is_installed():
        # Unlike with --trace-otlp-endpoint not an error, since the variable may be meant for other programs.
        return {}, [f"{OTLP_VARIABLE} has no effect: {otel.MISSING}"]
    return {"trace_otlp_endpoint": (endpoint, Origin(source="environment", where=OTLP_VARIABLE))}, []


def _from_file(config: str | None) -> _RawValues:
    named_by, name = ("--config", config) if config else (CONFIG_VARIABLE, os.environ.get(CONFIG_VARIABLE))
    if not name:
        return {}
    # Not with TomlConfigSettingsSource of pydantic-settings, which treats a missing file as empty.
    try:
        document = tomllib.loads(expand_home(Path(name)).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{named_by}: cannot read {name!r}: {error.strerror}") from None
    except ValueError as error:  # includes UnicodeDecodeError
        raise SettingsError(f"{named_by}: {name!r} is not valid TOML: {' '.join(str(error).split())}") from None
    return {key: (raw, Origin(source="file", where=f"{name}: {key}")) for key, raw in document.items()}


def _invalid_value(name: str, found: _RawValues) -> SettingsError:
    """The message for the first value that pydantic rejects."""
    raw, origin = found[name]
    if name in SETTINGS:
        return SettingsError(f"{origin.where}: expected {SETTINGS[name].allowed}, got {raw!r}")
    close = difflib.get_close_matches(name.replace("-", "_").lower(), SETTINGS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "'sardonyx serve --show-settings' lists all settings"
    return SettingsError(f"{origin.where}: unknown setting; {hint}")


def _unencrypted(settings: Settings) -> list[str]:
    asks = settings.auth_tokens_file is not None or settings.grpc_restricted_protocol
    if not asks or settings.uses_tls or _is_loopback(settings.host):
        return []
    text = f"callers prove who they are, and without TLS everybody on the way to {settings.host} can read how"
    return [f"{text}: set grpc_use_ssl, or put the server behind something that has TLS"]


def _is_loopback(host: str) -> bool:
    """As far as the name says: what a resolver makes of others, ``serve`` learns later."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _misspelled() -> list[str]:
    known = [setting.variable for setting in SETTINGS.values()]
    found = []
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable not in known and variable not in OTHER_VARIABLES:
            # Only near misses: other SARDONYX_* variables may be set by the platform on purpose.
            close = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
            if close:
                found.append(f"{variable} is not a setting and has no effect; did you mean {close[0]}?")
    return found
