"""What both lanes want of their sockets."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

import grpc

from sardonyx_client._lane.failure import LaneFailure

__all__ = ["HANDSHAKE_S", "INTERNET", "connect_failure", "tune"]

INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
HANDSHAKE_S: Final = 20.0
"""A server that says nothing for so long after it was connected to is none; gRPC's core waits as long."""

# After a silence of keepalive_s the system asks the peer, again after each of these, and gives up after so many without
# an answer: 20 s together, as gRPC's core waits for the answer to its ping.
_PROBE_S: Final = 5
_PROBES: Final = 4
_MS_PER_S: Final = 1000


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


def connect_failure(authority: str, error: BaseException) -> LaneFailure:
    """There is no connection."""
    # asyncio puts words of its own before the system's.
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number is not None and number in errno.errorcode else str(error)
    return LaneFailure(grpc.StatusCode.UNAVAILABLE, f"no connection to {authority}: {reason}")
