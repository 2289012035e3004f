"""Sockets whose both ends are on this machine."""

from __future__ import annotations

import socket
import sys
from contextlib import closing

import pytest

if sys.platform != "linux":
    pytest.skip("the lane needs Linux", allow_module_level=True)

from sardonyx_server.rpc.lane.sockets.loopback import disable_pacing

_BYTES = 16


def congestion(connected: socket.socket) -> bytes:
    """How a socket decides when to send."""
    return connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _BYTES).rstrip(b"\0")


def test_to_this_machine_nothing_is_paced() -> None:
    """Whatever the system is set to: there is no network to spare."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        disable_pacing(near)
        assert congestion(near) == b"reno"


def test_to_another_address_the_systems_choice_holds() -> None:
    """What lies between two addresses is not known."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), source_address=("127.0.0.2", 0)) as far,
    ):
        before = congestion(far)
        disable_pacing(far)
        assert congestion(far) == before


def test_what_is_not_connected_or_no_tcp_is_left_alone() -> None:
    """It raises nothing: there is nothing to be gained, either."""
    with closing(socket.socket()) as alone:
        before = congestion(alone)
        disable_pacing(alone)
        assert congestion(alone) == before
    one, other = socket.socketpair()
    with closing(one), closing(other):
        disable_pacing(one)
        one.send(b"x")
        assert other.recv(_BYTES) == b"x"
