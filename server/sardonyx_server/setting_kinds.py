"""What a value of a setting may be: the types of the fields of ``Settings``, each with what stands for it in help."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, GetPydanticSchema

__all__ = [
    "GIB",
    "KIB",
    "MESSAGE_BYTES_LIMIT",
    "MIB",
    "AnyCase",
    "Bytes",
    "CompressionLevel",
    "Kind",
    "MaybeText",
    "Names",
    "OptionalBytes",
    "OptionalPath",
    "OptionalPort",
    "OptionalUrl",
    "Paths",
    "Port",
    "Seconds",
    "Switch",
    "Text",
    "Whole",
    "expanded",
    "size_text",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# grpc-core keeps the message limit in a signed 32-bit integer.
MESSAGE_BYTES_LIMIT: Final = 2 * GIB - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """What stands for a value in help, and the end of "expected ..." but for the limits, which the field has."""

    metavar: str
    allowed: str


def size_text(size_bytes: int) -> str:
    """A number of bytes as an operator would write it; exact, unlike pydantic's own text for a ``ByteSize``."""
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


def expanded(path: Path) -> Path:
    """The home folder in place of ``~``; as it stands where there is no such home, as shells leave it."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # pathlib raises RuntimeError where there is none


def _http_url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no http:// or https:// URL with a host")
    return raw


# To pydantic true is the number 1: `grpc_port = true` in a file would be port 1. As text it is none.
AsText = BeforeValidator(str)
Switch = Annotated[bool, Kind("true|false", "true or false")]
Whole = Annotated[int, AsText, Kind("NUMBER", "a whole number")]
Port = Annotated[int, AsText, Field(ge=0, le=65_535), Kind("PORT", "a port")]
OptionalPort = Annotated[Port | None, BeforeValidator(_off), Kind("PORT", "off or a port from 0 to 65535")]
Seconds = Annotated[float, AsText, Kind("SECONDS", "a number of seconds")]
# An int to whoever uses the setting, read as pydantic reads a ByteSize.
Bytes = Annotated[
    int,
    GetPydanticSchema(lambda _, handler: handler(ByteSize)),
    Field(ge=KIB),
    Kind("BYTES", "a number of bytes, such as 1048576 or 256MiB,"),
]
OptionalBytes = Annotated[
    Bytes | None, BeforeValidator(_off), Kind("BYTES", "off or a number of bytes from 1KiB, such as 256MiB")
]
Text = Annotated[str, Field(min_length=1), Kind("TEXT", "text that is not empty")]
MaybeText = Annotated[str, Kind("TEXT", "text")]
Names = Annotated[
    tuple[Text, ...],
    BeforeValidator(_at_commas),
    Kind("NAME[,NAME]", "names separated by commas, none of them empty"),
]
Paths = Annotated[
    tuple[Annotated[Path, BeforeValidator(_not_empty), AfterValidator(expanded)], ...],
    BeforeValidator(_at_separators),
    Kind("PATH", "paths, none of them empty"),
]
OptionalPath = Annotated[
    Annotated[Path, BeforeValidator(_not_empty), AfterValidator(expanded)] | None,
    BeforeValidator(_off),
    Kind("PATH", "off or a path that is not empty"),
]
OptionalUrl = Annotated[
    Annotated[str, AfterValidator(_http_url)] | None,
    BeforeValidator(_off),
    Kind("URL", "off or a URL that begins with http:// or https://"),
]
CompressionLevel = Literal["none", "low", "medium", "high"]
# For choices, and for the names of providers.
AnyCase = BeforeValidator(_lower)
