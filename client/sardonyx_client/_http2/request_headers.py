"""Encodes the header block of a request. Unusual metadata is left to grpcio's channel."""

from __future__ import annotations

import binascii
import math
import re
from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.hpack import encode_block

if TYPE_CHECKING:
    from sardonyx_wire.http2.hpack import Field

__all__ = ["Metadata", "RequestHeaderEncoder", "encode_timeout"]

Metadata = tuple[tuple[str, str | bytes], ...]

# A program uses few sets of metadata. Bounds the memory if each call has a new token.
_MEMO_ENTRIES: Final = 64
# Fits in one frame of any server.
_MAX_BLOCK_BYTES: Final = 8 * 1024
# Names that grpcio accepts, and values that need no escaping. Everything else, its errors included, is left to grpcio.
_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
# Names with a meaning of their own in HTTP/2 or gRPC.
_RESERVED: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "keep-alive", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "user-agent"}
)
# A timeout has at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
_MAX_TIMEOUT_VALUE: Final = 99_999_999
_UNITS: Final = ((b"u", 1e6), (b"m", 1e3), (b"S", 1.0))
# The remaining time differs from call to call. Rounded to three digits, header blocks repeat, and a server that caches
# decoded blocks need not decode them: 14 us a call (2026-11-26). gRPC's core rounds, too.
_TIMEOUT_DIGITS: Final = 3


class RequestHeaderEncoder:
    """Encodes and caches the header blocks of one method on one server. Thread-safe.

    Args:
        authority: ``:authority`` of the server.
        path: Path of the method.
        max_message_bytes: Largest request message; None = no limit on this side.
    """

    def __init__(self, authority: str, path: str, max_message_bytes: int | None = None) -> None:
        self._max_message_bytes = max_message_bytes
        self._common_fields: list[Field] = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", authority.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"grpc-python-sardonyx"),
            (b"grpc-accept-encoding", b"identity,deflate,gzip"),
        ]
        self._memo: dict[Metadata, bytes | None] = {}
        self._timeout: tuple[float | None, bytes] = (None, b"")

    def fits(self, message: bytes) -> bool:
        """Whether a request is within ``max_message_bytes``. If not, grpcio's channel reports the error."""
        return self._max_message_bytes is None or len(message) <= self._max_message_bytes

    def encode(self, timeout_s: float | None, metadata: Metadata, *, attempts_before: int = 0) -> bytes | None:
        """The header block of one attempt. All of it but the timeout is cached.

        Args:
            timeout_s: Remaining timeout; None = no limit.
            metadata: The call's metadata.
            attempts_before: Earlier attempts that the server may have seen.

        Returns:
            None = grpcio's channel must send this metadata.
        """
        try:
            block = self._memo[metadata]
        except KeyError:
            block = self._encode_static(metadata)
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            self._memo[metadata] = block
        if block is None:
            return None
        last = self._timeout
        if last[0] != timeout_s:
            last = self._timeout = timeout_s, _timeout_field(timeout_s)
        if attempts_before:
            return block + last[1] + encode_block([(b"grpc-previous-rpc-attempts", b"%d" % attempts_before)])
        return block + last[1]

    def _encode_static(self, metadata: Metadata) -> bytes | None:
        fields = list(self._common_fields)
        for name, value in metadata:
            field = _field(name, value)
            if field is None:
                return None
            fields.append(field)
        block = encode_block(fields)
        return block if len(block) <= _MAX_BLOCK_BYTES else None


def _timeout_field(timeout_s: float | None) -> bytes:
    timeout = None if timeout_s is None else encode_timeout(timeout_s)
    return b"" if timeout is None else encode_block([(b"grpc-timeout", timeout)])


def encode_timeout(seconds: float) -> bytes | None:
    """Seconds -> value of ``grpc-timeout``, rounded up by less than 1 %; None = too long to be expressed."""
    for unit, per_second in _UNITS:
        count = math.ceil(seconds * per_second)
        step = 10 ** max(0, len(str(count)) - _TIMEOUT_DIGITS)
        count = -(-count // step) * step
        if count <= _MAX_TIMEOUT_VALUE:
            return b"%d%s" % (max(count, 1), unit)
    return None


def _field(name: str, value: str | bytes) -> Field | None:
    """Encodes one metadata entry; None = grpcio's channel must send it."""
    if not _NAME.fullmatch(name) or name in _RESERVED or name.startswith("grpc-"):
        return None
    if name.endswith("-bin"):
        # Without padding, as grpcio sends it.
        return (
            None
            if not isinstance(value, bytes)
            else (name.encode(), binascii.b2a_base64(value, newline=False).rstrip(b"="))
        )
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return (name.encode(), value.encode()) if _VALUE.fullmatch(value) else None
