"""Decodes the header blocks of requests. A client's blocks repeat, so their results are memoized."""

from __future__ import annotations

import binascii
import math
import re
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.messages.compression import ENCODINGS, choose
from sardonyx_wire.http2.hpack import DynamicTable, decode_block, header_list_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.rpc.access_control import AccessPolicy
    from sardonyx_server.rpc.lane.messages.compression import Level
    from sardonyx_wire.http2.hpack import Field

__all__ = ["MAX_HEADER_LIST_BYTES", "RequestHeaders", "RequestReader"]

MAX_HEADER_LIST_BYTES: Final = 16 * 1024
"""Size limit of a request's header list, counted as in RFC 9113, section 6.5.2. gRPC's core has the same limit."""

# A header list over the limit above fails its call; one over this limit fails the connection.
_MAX_DECODED_HEADER_BYTES: Final = 64 * 1024

# HTTP/2's default size of the dynamic table, which a client may use before it receives our settings.
_HEADER_TABLE_BYTES: Final = 4096

# The client controls the keys, so they are bounded: 64 x 1 KiB for each connection.
_MEMO_ENTRIES: Final = 64
_MEMO_KEY_BYTES: Final = 1024

_UNITS_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT_DIGITS: Final = 8
_READABLE: Final = frozenset({b"identity", *ENCODINGS})
# RFC 9113, section 8.2.1, and what gRPC's core takes.
_NAME: Final = re.compile(rb":(?:authority|method|path|scheme)|[a-z0-9_.-]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# Headers of HTTP and of gRPC itself, which are not metadata.
_NO_METADATA: Final = frozenset({b"te", b"content-type", b"host"})


class RequestHeaders:
    """The decoded headers of a request. Immutable but for caches: all equal requests of a connection share one.

    Args:
        fields: The header fields, in the order sent.
        peer: Address of the caller, in gRPC's form.
        compression: Compression level of responses.

    Attributes:
        allowed_by: The access policy that has allowed the request; None = none was asked.
        fields: As given.
        header_list_bytes: Size of the header list, counted as HTTP/2 does.
        path: ``:path``: full name of the method.
        peer: As given.
        encoding: ``grpc-encoding`` of the caller; b"" = its messages must not be compressed.
        answer_encoding: ``grpc-encoding`` that responses may use; b"" = they are not compressed.
        is_grpc: Whether this is a gRPC call whose messages can be decoded. The grpcio server refuses all others.
        timeout_s: ``grpc-timeout``; infinity where the caller set none.
    """

    __slots__ = (
        "_metadata", "allowed_by", "answer_encoding", "encoding", "fields", "header_list_bytes", "is_grpc", "path",
        "peer", "timeout_s",
    )  # fmt: skip

    def __init__(self, fields: list[Field], peer: str, compression: Level) -> None:
        values = dict(fields)
        self._metadata: Sequence[tuple[str, str | bytes]] | None = None
        self.allowed_by: AccessPolicy | None = None
        self.fields = fields
        self.peer = peer
        self.header_list_bytes = header_list_bytes(fields)
        self.path = values.get(b":path", b"")
        encoding = values.get(b"grpc-encoding", b"identity")
        self.encoding = encoding if encoding in ENCODINGS else b""
        self.answer_encoding = choose(compression, values.get(b"grpc-accept-encoding", b""))
        timeout = values.get(b"grpc-timeout")
        self.timeout_s = _seconds(timeout)
        self.is_grpc = (
            values.get(b":method") == b"POST"
            and _is_grpc(values.get(b"content-type", b""))
            and encoding in _READABLE
            and values.get(b"te", b"trailers") == b"trailers"
            and (timeout is None or self.timeout_s < math.inf)
            and all(map(_is_lawful, fields))
        )

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the call, in the order sent; values of ``-bin`` names are bytes."""
        if self._metadata is None:
            self._metadata = tuple(
                pair for name, value in self.fields if _is_metadata(name) for pair in _metadata(name, value)
            )
        return self._metadata


class RequestReader:
    """Decodes the header blocks of one connection.

    Args:
        peer: Address of the caller, in gRPC's form.
        compression: Compression level of responses.

    Attributes:
        known: Header block -> its result, while the dynamic table is unchanged. Other blocks need :meth:`read`.
    """

    __slots__ = ("_changes", "_compression", "_peer", "_table", "known")

    def __init__(self, peer: str, compression: Level) -> None:
        self._peer = peer
        self._compression: Level = compression
        self._table = DynamicTable(_HEADER_TABLE_BYTES)
        self._changes = 0
        self.known: dict[bytes, RequestHeaders] = {}

    def read(self, block: bytes) -> RequestHeaders:
        """Decode a header block. Every block of the connection that is not in :attr:`known` must come here, in order.

        Raises:
            HpackError: The block is damaged or too large. The connection cannot be used further.
        """
        request = self.known.get(block)
        if request is not None:
            return request
        fields = decode_block(block, self._table, max_bytes=_MAX_DECODED_HEADER_BYTES)
        request = RequestHeaders(fields, self._peer, self._compression)
        if self._changes != self._table.changes:
            # The dynamic table has changed: known blocks, and this one, may decode differently from now on.
            self._changes = self._table.changes
            self.known.clear()
        elif len(block) <= _MEMO_KEY_BYTES:
            if len(self.known) >= _MEMO_ENTRIES:
                self.known.clear()
            self.known[block] = request
        return request


def _is_grpc(content_type: bytes) -> bool:
    """Whether it is ``application/grpc``, with or without ``+proto`` or ``;charset``; not ``application/grpc-web``."""
    return content_type.startswith(b"application/grpc") and content_type[16:17] in b"+;"


def _seconds(timeout: bytes | None) -> float:
    """``grpc-timeout`` in seconds; infinity where it is absent or malformed."""
    if timeout is None:
        return math.inf
    digits, unit = timeout[:-1], timeout[-1:]
    if not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS or unit not in _UNITS_S:
        return math.inf
    return int(digits) * _UNITS_S[unit]


def _is_lawful(field: Field) -> bool:
    name, value = field
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        return False
    if not name.endswith(b"-bin"):
        return True
    try:
        for part in value.split(b","):
            binascii.a2b_base64(part + b"=" * (-len(part) % 4), strict_mode=True)
    except binascii.Error:
        return False
    return True


def _is_metadata(name: bytes) -> bool:
    return (not name.startswith((b":", b"grpc-")) and name not in _NO_METADATA) or name.endswith(b"-bin")


def _metadata(name: bytes, value: bytes) -> list[tuple[str, str | bytes]]:
    """A header field as metadata, in grpcio's form. One field of a ``-bin`` name may hold several values."""
    key = name.decode("latin-1")
    if not name.endswith(b"-bin"):
        return [(key, value.decode("latin-1"))]
    return [(key, binascii.a2b_base64(part + b"=" * (-len(part) % 4))) for part in value.split(b",")]
