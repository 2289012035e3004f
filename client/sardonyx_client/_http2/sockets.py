"""Socket options, vectored writes, and errors of connecting."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_client._http2.errors import Http2RpcError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HANDSHAKE_TIMEOUT_S", "INET_FAMILIES", "configure_socket", "connect_error", "send_parts"]

INET_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6})
HANDSHAKE_TIMEOUT_S: Final = 20.0
"""How long to wait for the server's SETTINGS after connecting; gRPC's core waits as long."""

# TCP keepalive: after keepalive_s without traffic the kernel probes the peer at this interval, and drops the connection
# after this many unanswered probes: 20 s in total, as long as gRPC's core waits for the response to its ping.
_PROBE_S: Final = 5
_PROBES: Final = 4
_MS_PER_S: Final = 1000
# Parts are joined into one buffer up to this size; above it, sendmsg takes them as they are.
_JOIN_LIMIT_BYTES: Final = 32 * 1024
# Below IOV_MAX, the most buffers that sendmsg accepts.
_MAX_PARTS: Final = 512


def configure_socket(raw: socket.socket, keepalive_s: float | None) -> None:
    """Set the options of a connected socket.

    Args:
        raw: The socket.
        keepalive_s: Time without traffic after which the kernel probes the peer, with or without calls in flight;
            None = never. If the peer does not respond, the connection fails. TCP keepalive needs no thread, and keeps
            idle connections alive too.
    """
    if raw.family not in INET_FAMILIES:
        return
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if keepalive_s is None:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle_s = max(1, round(keepalive_s))
    for name, value in (
        ("TCP_KEEPIDLE", idle_s),
        ("TCP_KEEPALIVE", idle_s),  # the same on macOS
        ("TCP_KEEPINTVL", _PROBE_S),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", (idle_s + _PROBE_S * _PROBES) * _MS_PER_S),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)


def send_parts(raw: socket.socket, parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Write parts with one system call. Returns the parts that were not written.

    Raises:
        OSError: From the socket, such as BlockingIOError if nothing can be written now.
    """
    if sum(map(len, parts)) <= _JOIN_LIMIT_BYTES:
        joined = b"".join(parts)
        size = raw.send(joined)
        return [] if size == len(joined) else [memoryview(joined)[size:]]
    size = raw.sendmsg(parts[:_MAX_PARTS])
    for index, part in enumerate(parts):
        if size < len(part):
            return [memoryview(part)[size:], *parts[index + 1 :]]
        size -= len(part)
    return []


def connect_error(authority: str, error: BaseException) -> Http2RpcError:
    """The error of a failed attempt to connect."""
    # asyncio prefixes the operating system's message with text of its own.
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number is not None and number in errno.errorcode else str(error)
    return Http2RpcError(grpc.StatusCode.UNAVAILABLE, f"no connection to {authority}: {reason}")
