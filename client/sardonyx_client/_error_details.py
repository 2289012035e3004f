"""Parses google.rpc.Status error details (ErrorInfo, BadRequest, RetryInfo) without the packages that define them.

Three small messages do not justify two more dependencies. Field numbers are from google/rpc/error_details.proto.
Malformed or unknown details are ignored: they are optional, and must not hide the error itself.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sardonyx_wire.protobuf_fields import read_varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["NO_ERROR_DETAILS", "ErrorDetails", "parse_error_details"]

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDetails:
    """Error details of a status.

    Attributes:
        reason: ErrorInfo.reason; "" if absent.
        info: ErrorInfo.metadata, without ``expected`` and ``got``.
        expected: From ErrorInfo.metadata; "" if absent.
        got: Likewise.
        field: Field of the first BadRequest violation; "" if absent.
        retry_after_s: RetryInfo.retry_delay in seconds; None if absent.
    """

    reason: str = ""
    info: Mapping[str, str] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    expected: str = ""
    got: str = ""
    field: str = ""
    retry_after_s: float | None = None


NO_ERROR_DETAILS: Final = ErrorDetails()


def parse_error_details(status: bytes) -> ErrorDetails:
    """Serialised ``google.rpc.Status`` -> details. Never raises: malformed or unknown details are ignored."""
    details = NO_ERROR_DETAILS
    try:
        for packed in _messages(status, 3):
            kind = _text(packed, 1).rpartition("/")[2]
            for value in _messages(packed, 2):
                details = _add(details, kind, value)
    except (IndexError, UnicodeDecodeError):
        pass
    return details


def _add(details: ErrorDetails, kind: str, value: bytes) -> ErrorDetails:
    if kind == "google.rpc.ErrorInfo":
        info = {_text(entry, 1): _text(entry, 2) for entry in _messages(value, 3)}
        expected, got = info.pop("expected", ""), info.pop("got", "")
        return dataclasses.replace(
            details, reason=_text(value, 1), info=MappingProxyType(info), expected=expected, got=got
        )
    if kind == "google.rpc.BadRequest":
        fields = [_text(violation, 1) for violation in _messages(value, 1)]
        return dataclasses.replace(details, field=fields[0] if fields else "")
    if kind == "google.rpc.RetryInfo":
        for duration in _messages(value, 1):
            parts = {number: part for number, part in _fields(duration) if isinstance(part, int)}
            return dataclasses.replace(details, retry_after_s=parts.get(1, 0) + parts.get(2, 0) / 1e9)
    return details


def _messages(message: bytes, number: int) -> list[bytes]:
    return [value for found, value in _fields(message) if found == number and isinstance(value, bytes)]


def _text(message: bytes, number: int) -> str:
    values = _messages(message, number)
    return values[-1].decode() if values else ""


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field, fixed-size values as bytes. Raises IndexError if the message is malformed."""
    position = 0
    while position < len(message):
        key, position = read_varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = read_varint(message, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, position = read_varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise IndexError(position)
        if position + size > len(message):
            raise IndexError(position)
        yield key >> 3, message[position : position + size]
        position += size
