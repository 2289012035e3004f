"""What lines want of their sockets."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_client._lane.failure import LaneFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HANDSHAKE_S", "INTERNET", "connect_failure", "hand_over", "tune"]

INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
HANDSHAKE_S: Final = 20.0
"""A server that says nothing for so long after it was connected to is none; gRPC's core waits as long."""

# After a silence of keepalive_s the system asks the peer, again after each of these, and gives up after so many without
# an answer: 20 s together, as gRPC's core waits for the answer to its ping.
_PROBE_S: Final = 5
_PROBES: Final = 4
_MS_PER_S: Final = 1000
# Parts of a message are handed over as they are above this size, and joined below.
_JOINED_BYTES: Final = 32 * 1024
# The system takes no more at once (IOV_MAX).
_MOST_PARTS: Final = 512


def tune(raw: socket.socket, keepalive_s: float | None) -> None:
    """Set options of a socket that is connected.

    Args:
        raw: The socket.
        keepalive_s: Time without traffic after which the system asks the peer, with calls and without; None = never.
            A peer that does not answer is lost: the system's own probes need no thread, and also keep alive what waits
            unused.
    """
    if raw.family not in INTERNET:
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


def hand_over(raw: socket.socket, parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Give parts to the system, in one call, and as much as it takes. Returns the rest.

    Raises:
        OSError: The socket's, such as BlockingIOError where it takes nothing now.
    """
    if sum(map(len, parts)) <= _JOINED_BYTES:
        joined = b"".join(parts)
        size = raw.send(joined)
        return [] if size == len(joined) else [memoryview(joined)[size:]]
    size = raw.sendmsg(parts[:_MOST_PARTS])
    for index, part in enumerate(parts):
        if size < len(part):
            return [memoryview(part)[size:], *parts[index + 1 :]]
        size -= len(part)
    return []


def connect_failure(authority: str, error: BaseException) -> LaneFailure:
    """There is no connection."""
    # asyncio puts words of its own before the system's.
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number is not None and number in errno.errorcode else str(error)
    return LaneFailure(grpc.StatusCode.UNAVAILABLE, f"no connection to {authority}: {reason}")
