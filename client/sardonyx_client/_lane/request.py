"""Deadline and metadata of a call -> the header block of its request. What is not plain is left to the channel."""

from __future__ import annotations

import binascii
import math
import re
from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.hpack import encode_block

if TYPE_CHECKING:
    from sardonyx_wire.http2.hpack import Field

__all__ = ["Metadata", "RequestBlocks", "encode_timeout"]

Metadata = tuple[tuple[str, str | bytes], ...]

# A program has a few credentials. One whose token is new in each call must not fill its memory.
_MEMO_ENTRIES: Final = 64
# What every server takes in one frame.
_MOST_BLOCK_BYTES: Final = 8 * 1024
# Names that grpc accepts, and values that need no care. All else is the channel's, its errors included.
_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
# Names that HTTP/2 or gRPC gives a meaning of their own.
_RESERVED: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "keep-alive", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "user-agent"}
)
# At most eight digits go with a unit (gRPC over HTTP/2, "Timeout").
_MOST_DIGITS: Final = 99_999_999
_UNITS: Final = ((b"u", 1e6), (b"m", 1e3), (b"S", 1.0))
# What is left of a deadline is another number for each call. Said in three digits, blocks repeat, and a server that
# remembers what they mean need not read them: 14 us of a call (2026-11-26). gRPC's core rounds, too.
_SAID_DIGITS: Final = 3


class RequestBlocks:
    """Makes the blocks of one method on one server. Threads may share one.

    Args:
        authority: Of the server.
        path: Of the method.
        max_message_bytes: Of requests; None = no limit on this side.
    """

    def __init__(self, authority: str, path: str, max_message_bytes: int | None = None) -> None:
        self._max_message_bytes = max_message_bytes
        self._opening: list[Field] = [
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

    def takes(self, message: bytes) -> bool:
        """Whether a request is no larger than it may be. If it is, the channel has the words for it."""
        return self._max_message_bytes is None or len(message) <= self._max_message_bytes

    def block(self, timeout_s: float | None, metadata: Metadata, *, attempts_before: int = 0) -> bytes | None:
        """Of one attempt. All but the deadline is remembered.

        Args:
            timeout_s: Until the call is given up; None = no limit.
            metadata: Of the call.
            attempts_before: That the server may have seen.

        Returns:
            None where the metadata are not plain.
        """
        try:
            block = self._memo[metadata]
        except KeyError:
            block = self._encode(metadata)
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

    def _encode(self, metadata: Metadata) -> bytes | None:
        fields = list(self._opening)
        for name, value in metadata:
            field = _field(name, value)
            if field is None:
                return None
            fields.append(field)
        block = encode_block(fields)
        return block if len(block) <= _MOST_BLOCK_BYTES else None


def _timeout_field(timeout_s: float | None) -> bytes:
    timeout = None if timeout_s is None else encode_timeout(timeout_s)
    return b"" if timeout is None else encode_block([(b"grpc-timeout", timeout)])


def encode_timeout(seconds: float) -> bytes | None:
    """Seconds -> value of ``grpc-timeout``, rounded up by less than a hundredth; None where it is too long to say."""
    for unit, per_second in _UNITS:
        count = math.ceil(seconds * per_second)
        step = 10 ** max(0, len(str(count)) - _SAID_DIGITS)
        count = -(-count // step) * step
        if count <= _MOST_DIGITS:
            return b"%d%s" % (max(count, 1), unit)
    return None


def _field(name: str, value: str | bytes) -> Field | None:
    """None where it is not plain."""
    if not _NAME.fullmatch(name) or name in _RESERVED or name.startswith("grpc-"):
        return None
    if name.endswith("-bin"):
        # Without padding, as grpc sends it.
        return (
            None
            if not isinstance(value, bytes)
            else (name.encode(), binascii.b2a_base64(value, newline=False).rstrip(b"="))
        )
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return (name.encode(), value.encode()) if _VALUE.fullmatch(value) else None
