"""Decodes header blocks of responses. Blocks repeat from call to call, so decoded ones are cached."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import grpc

from sardonyx_wire.http2.hpack import DynamicTable, decode_block

if TYPE_CHECKING:
    from sardonyx_wire.http2.hpack import Field

__all__ = ["HTTP_OK", "HeaderDecoder", "ResponseHeaders"]

# Bounds the memory when all blocks differ, for example because each has an id.
_MEMO_ENTRIES: Final = 64
_MEMO_KEY_BYTES: Final = 1024
# With SETTINGS_HEADER_TABLE_SIZE 0, as the client sets it, decoded fields cannot be much longer than the block, whose
# size is limited.
_MAX_DECODED_BYTES: Final = 1 << 24

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

# HTTP status -> gRPC status, for a server or proxy that does not speak gRPC (gRPC's http-grpc-status-mapping.md).
_HTTP_CODES: Final = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
_INFORMATIONAL: Final = range(100, 200)
HTTP_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHeaders:
    """A decoded header block: response headers or trailers.

    Attributes:
        http_status: None in trailers.
        code: ``grpc-status``; None if absent. A number that gRPC does not define is UNKNOWN.
        text: ``grpc-message``, decoded.
        encoding: ``grpc-encoding``: the compression algorithm of messages.
        pushback_ms: ``grpc-retry-pushback-ms``: negative = do not retry; None if absent.
        metadata: All fields that are not gRPC's own, and ``grpc-status-details-bin``.
    """

    http_status: int | None
    code: grpc.StatusCode | None
    text: str
    encoding: str
    pushback_ms: int | None
    metadata: tuple[tuple[str, str | bytes], ...]

    @property
    def informational(self) -> bool:
        """Whether this is an informational response (1xx), and the final headers are still to come."""
        return self.http_status in _INFORMATIONAL

    @property
    def http_code(self) -> grpc.StatusCode:
        """Status of a call that ended without ``grpc-status``."""
        if self.http_status is None or self.http_status == HTTP_OK:
            return grpc.StatusCode.UNKNOWN
        return _HTTP_CODES.get(self.http_status, grpc.StatusCode.UNKNOWN)


class HeaderDecoder:
    """Decodes and caches header blocks. Thread-safe."""

    __slots__ = ("_memo",)

    def __init__(self) -> None:
        self._memo: dict[bytes, ResponseHeaders] = {}

    def decode(self, block: bytes) -> ResponseHeaders:
        """Header block -> headers or trailers.

        Raises:
            HpackError: The block is malformed.
        """
        headers = self._memo.get(block)
        if headers is None:
            headers = _parse(decode_block(block, DynamicTable(0), max_bytes=_MAX_DECODED_BYTES))
            if len(block) <= _MEMO_KEY_BYTES:
                if len(self._memo) >= _MEMO_ENTRIES:
                    self._memo.clear()
                self._memo[block] = headers
        return headers


def _parse(fields: list[Field]) -> ResponseHeaders:
    values = dict(fields)
    code = values.get(b"grpc-status")
    pushback = values.get(b"grpc-retry-pushback-ms")
    return ResponseHeaders(
        http_status=_number(values.get(b":status"), None),
        code=None if code is None else _CODES.get(_number(code, -1) or 0, grpc.StatusCode.UNKNOWN),
        text=unquote_to_bytes(values.get(b"grpc-message", b"")).decode(errors="replace"),
        encoding=values.get(b"grpc-encoding", b"identity").decode("latin-1"),
        # A value that is not a number means "do not retry" (gRPC proposal A6).
        pushback_ms=None if pushback is None else _number(pushback, -1),
        metadata=tuple(_metadata(name, value) for name, value in fields if _is_metadata(name)),
    )


def _number(text: bytes | None, otherwise: int | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 10 else otherwise


def _is_metadata(name: bytes) -> bool:
    return name == b"grpc-status-details-bin" or not name.startswith((b":", b"grpc-"))


def _metadata(name: bytes, value: bytes) -> tuple[str, str | bytes]:
    """As grpcio returns it: values of ``-bin`` keys decoded; one that is not base64 is returned as received."""
    if name.endswith(b"-bin"):
        try:
            return name.decode("latin-1"), binascii.a2b_base64(value + b"=" * (-len(value) % 4))
        except binascii.Error:
            return name.decode("latin-1"), value
    return name.decode("latin-1"), value.decode("latin-1")
