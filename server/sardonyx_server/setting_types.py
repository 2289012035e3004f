"""Field types of ``Settings``: how each value is parsed, validated, and described in help and errors."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, GetPydanticSchema

from sardonyx_server.errors import SettingsError

__all__ = [
    "GIB",
    "KIB",
    "MESSAGE_BYTES_LIMIT",
    "MIB",
    "PROTOCOLS",
    "AnyText",
    "Boolean",
    "Bytes",
    "CaseInsensitive",
    "CompressionLevel",
    "Integer",
    "Names",
    "NonEmptyText",
    "OptionalBytes",
    "OptionalPath",
    "OptionalPort",
    "OptionalUrl",
    "Paths",
    "Port",
    "Restriction",
    "Restrictions",
    "Seconds",
    "ValueHelp",
    "expand_home",
    "format_size",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# grpc-core keeps the message limit in a signed 32-bit integer.
MESSAGE_BYTES_LIMIT: Final = 2 * GIB - 1

PROTOCOLS: Final = (
    "health", "metadata", "inference", "shared-memory", "model-config", "model-repository", "statistics", "trace",
    "logging",
)  # fmt: skip
"""Triton's names for groups of RPCs; ``rpc/access_control.py`` maps RPCs to groups."""

_HEADER_PREFIX: Final = "triton-grpc-protocol-"
# Valid header names and values in HTTP/2, whose names are lower case.
_HEADER_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


@dataclass(frozen=True, slots=True)
class ValueHelp:
    """How help and errors describe a value.

    Attributes:
        metavar: Stands for the value in help.
        allowed: Completes the sentence "expected ..."; the limits are added from the field.
    """

    metavar: str
    allowed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """A restriction of protocols to callers that send a secret header. Its text form omits the value.

    Attributes:
        protocols: Some of :data:`PROTOCOLS`.
        header: Name of the required header.
        value: Its required value, a secret.
    """

    protocols: tuple[str, ...]
    header: str
    value: str = field(repr=False)

    def __str__(self) -> str:
        return f"{','.join(self.protocols)}:{self.header.removeprefix(_HEADER_PREFIX)}=..."


def format_size(size_bytes: int) -> str:
    """A size as an operator would write it, such as ``256MiB``. Exact, unlike pydantic's text for a ``ByteSize``."""
    for unit, unit_bytes in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size_bytes % unit_bytes == 0:
            return f"{size_bytes // unit_bytes}{unit}"
    return str(size_bytes)


def _lower(raw: object) -> object:
    if isinstance(raw, list):
        return [_lower(item) for item in raw]
    return raw.strip().lower() if isinstance(raw, str) else raw


def _off(raw: object) -> object:
    return None if _lower(raw) in ("off", "none") else raw


def _at_commas(raw: object) -> object:
    texts = [raw] if isinstance(raw, str) else raw
    if isinstance(texts, (list, tuple)) and all(isinstance(text, str) for text in texts):
        return [name for text in texts for name in text.split(",")]
    return raw


def _at_separators(raw: object) -> object:
    return raw.split(os.pathsep) if isinstance(raw, str) else raw


def _not_empty(raw: object) -> object:
    if raw == "":
        raise ValueError("an empty path would be the current folder")
    return raw


def expand_home(path: Path) -> Path:
    """Replaces a leading ``~`` by the home folder. Like a shell, leaves the path unchanged if there is no such home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # pathlib raises RuntimeError if there is no such home


def _restrictions(raw: object) -> object:
    """Parse restrictions in Triton's syntax; in an environment variable they are separated by blanks.

    Raises:
        SettingsError: Says what is wrong without showing the text, which may contain a secret.
    """
    texts = raw.split() if isinstance(raw, str) else raw
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise SettingsError("grpc_restricted_protocol: expected text, or a list of texts")
    found = tuple(_restriction(text) for text in texts)
    named = [protocol for each in found for protocol in each.protocols]
    for protocol in named:
        if named.count(protocol) > 1:
            raise SettingsError(
                f"grpc_restricted_protocol: protocol {protocol!r} is named more than once; name it in one group only"
            )
    return found


def _restriction(text: str) -> Restriction:
    names, colon, pair = text.strip().partition(":")
    key, equals, value = pair.partition("=")
    if not colon or not equals:
        raise SettingsError("grpc_restricted_protocol: expected PROTOCOL[,PROTOCOL]:KEY=VALUE, got none of this form")
    protocols = tuple(name.strip() for name in names.split(","))
    for protocol in protocols:
        if protocol not in PROTOCOLS:
            raise SettingsError(
                f"grpc_restricted_protocol: unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}"
            )
    if not _HEADER_KEY.fullmatch(key):
        raise SettingsError(f"grpc_restricted_protocol: key {key!r} is no part of a header name; use a-z 0-9 _ . -")
    if not _HEADER_VALUE.fullmatch(value):
        raise SettingsError(
            f"grpc_restricted_protocol: the value for key {key!r} is empty, or not what a header can hold; take "
            "printable ASCII without blanks at its ends"
        )
    return Restriction(protocols=protocols, header=_HEADER_PREFIX + key, value=value)


def _http_url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no http:// or https:// URL with a host")
    return raw


# pydantic accepts true as the number 1, so `grpc_port = true` in a file would be port 1. "True" as text is rejected.
AsText = BeforeValidator(str)
Boolean = Annotated[bool, ValueHelp("true|false", "true or false")]
Integer = Annotated[int, AsText, ValueHelp("NUMBER", "a whole number")]
Port = Annotated[int, AsText, Field(ge=0, le=65_535), ValueHelp("PORT", "a port")]
OptionalPort = Annotated[Port | None, BeforeValidator(_off), ValueHelp("PORT", "off or a port from 0 to 65535")]
Seconds = Annotated[float, AsText, ValueHelp("SECONDS", "a number of seconds")]
# An int to the code that uses it, parsed as pydantic parses a ByteSize.
Bytes = Annotated[
    int,
    GetPydanticSchema(lambda _, handler: handler(ByteSize)),
    Field(ge=KIB),
    ValueHelp("BYTES", "a number of bytes, such as 1048576 or 256MiB,"),
]
OptionalBytes = Annotated[
    Bytes | None, BeforeValidator(_off), ValueHelp("BYTES", "off or a number of bytes from 1KiB, such as 256MiB")
]
NonEmptyText = Annotated[str, Field(min_length=1), ValueHelp("TEXT", "text that is not empty")]
AnyText = Annotated[str, ValueHelp("TEXT", "text")]
Names = Annotated[
    tuple[NonEmptyText, ...],
    BeforeValidator(_at_commas),
    ValueHelp("NAME[,NAME]", "names separated by commas, none of them empty"),
]
Paths = Annotated[
    tuple[Annotated[Path, BeforeValidator(_not_empty), AfterValidator(expand_home)], ...],
    BeforeValidator(_at_separators),
    ValueHelp("PATH", "paths, none of them empty"),
]
OptionalPath = Annotated[
    Annotated[Path, BeforeValidator(_not_empty), AfterValidator(expand_home)] | None,
    BeforeValidator(_off),
    ValueHelp("PATH", "off or a path that is not empty"),
]
OptionalUrl = Annotated[
    Annotated[str, AfterValidator(_http_url)] | None,
    BeforeValidator(_off),
    ValueHelp("URL", "off or a URL that begins with http:// or https://"),
]
Restrictions = Annotated[
    tuple[Restriction, ...],
    BeforeValidator(_restrictions),
    ValueHelp("PROTOCOL[,PROTOCOL]:KEY=VALUE", "groups PROTOCOL[,PROTOCOL]:KEY=VALUE, separated by spaces"),
]
CompressionLevel = Literal["none", "low", "medium", "high"]
# For choices and provider names.
CaseInsensitive = BeforeValidator(_lower)
