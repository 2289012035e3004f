"""Header block of a request -> what it asks for. A caller's blocks repeat, so they are remembered."""

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
"""Longest header of a request, counted as HTTP/2 does. gRPC's core has the same limit."""

# What is longer than that is refused as a call, and what is longer than this as a connection.
_MAX_DECODED_HEADER_BYTES: Final = 64 * 1024

# What HTTP/2 lets a caller use before it has heard otherwise.
_HEADER_TABLE_BYTES: Final = 4096

# The caller chooses the keys: 64 x 1 KiB for a connection at most.
_MEMO_ENTRIES: Final = 64
_MEMO_KEY_BYTES: Final = 1024

_UNITS_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT_DIGITS: Final = 8
_READABLE: Final = frozenset({b"identity", *ENCODINGS})
# RFC 9113, section 8.2.1, and what gRPC's core takes.
_NAME: Final = re.compile(rb":(?:authority|method|path|scheme)|[a-z0-9_.-]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# What belongs to HTTP and to gRPC itself is no metadata.
_NO_METADATA: Final = frozenset({b"te", b"content-type", b"host"})


class RequestHeaders:
    """Who asks, for what and how. Shared by all requests of a connection with the same header: says the same always.

    Args:
        fields: Of the header, in the order sent.
        peer: Address of the caller, in gRPC's form.
        compression: How much work goes into compressing answers.

    Attributes:
        allowed_by: The access policy that has allowed it; None where none has been asked.
        fields: In the order sent.
        header_list_bytes: Their size.
        path: Full name of the method.
        peer: As given.
        encoding: How compressed messages of the caller are compressed; b"" where there may be none.
        answer_encoding: How its answers may be compressed; b"" for not at all.
        is_grpc: Whether it is a gRPC call whose messages can be read. What is not is for the grpcio server to refuse.
        timeout_s: How long the caller waits; infinity where it does not say.
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
        """What the caller says beside gRPC, in the order sent; values of ``-bin`` names are bytes."""
        if self._metadata is None:
            self._metadata = tuple(
                pair for name, value in self.fields if _is_metadata(name) for pair in _metadata(name, value)
            )
        return self._metadata


class RequestReader:
    """Reads the header blocks of one connection.

    Args:
        peer: Address of the caller, in gRPC's form.
        compression: How much work goes into compressing answers.

    Attributes:
        known: Blocks that mean the same as before; of others ask :meth:`read`.
    """

    __slots__ = ("_changes", "_compression", "_peer", "_table", "known")

    def __init__(self, peer: str, compression: Level) -> None:
        self._peer = peer
        self._compression: Level = compression
        self._table = DynamicTable(_HEADER_TABLE_BYTES)
        self._changes = 0
        self.known: dict[bytes, RequestHeaders] = {}

    def read(self, block: bytes) -> RequestHeaders:
        """Block -> request. Every block of the connection must come here, in order.

        Raises:
            HpackError: It is damaged or too large. The connection is of no use any more.
        """
        request = self.known.get(block)
        if request is not None:
            return request
        fields = decode_block(block, self._table, max_bytes=_MAX_DECODED_HEADER_BYTES)
        request = RequestHeaders(fields, self._peer, self._compression)
        if self._changes != self._table.changes:
            # What was remembered may say something else from now on, and this block would, too.
            self._changes = self._table.changes
            self.known.clear()
        elif len(block) <= _MEMO_KEY_BYTES:
            if len(self.known) >= _MEMO_ENTRIES:
                self.known.clear()
            self.known[block] = request
        return request


def _is_grpc(content_type: bytes) -> bool:
    """``application/grpc``, with a ``+proto`` or a ``;charset`` behind it; not ``application/grpc-web``."""
    return content_type.startswith(b"application/grpc") and content_type[16:17] in b"+;"


def _seconds(timeout: bytes | None) -> float:
    """``grpc-timeout`` in seconds. What is none is no limit."""
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
    """As grpc gives it. Several values of a ``-bin`` name may come in one field."""
    key = name.decode("latin-1")
    if not name.endswith(b"-bin"):
        return [(key, value.decode("latin-1"))]
    return [(key, binascii.a2b_base64(part + b"=" * (-len(part) % 4))) for part in value.split(b",")]
