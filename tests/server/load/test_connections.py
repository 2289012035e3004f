"""Connections of a load that end, and those that never were."""

from __future__ import annotations

import os
import socket

import pytest

from sardonyx_server.load.connections import GrpcConnections, Interrupted
from sardonyx_server.load.loops import LoadGeneratorError, Target
from sardonyx_server.load.sender import over_grpc
from sardonyx_wire.http2.frames import ErrorCode, goaway
from tests.client.http2.peers import Peer, PeerConnection
from tests.client.http2.wire import answer
from tests.server.load.fakes import METHOD
from tests.server.load.senders import answered, closed, sending


def echo(peer: PeerConnection) -> None:
    """Answer each request as it comes."""
    peer.greet()
    while True:
        stream_id, _, message = peer.request()
        peer.send(answer(stream_id, message[5:]))


def test_a_goodbye_in_the_middle_of_a_run() -> None:
    """The server deals with what it names; the rest has failed; what comes later goes over a new connection."""

    def leaves(peer: PeerConnection) -> None:
        peer.greet()
        ids = [peer.request()[0] for _ in range(4)]
        peer.send(goaway(ErrorCode.NO_ERROR, last_id=ids[1]))
        peer.send(answer(ids[0], b""), answer(ids[1], b""))

    with Peer(leaves, echo) as server, sending(server.address) as sender:
        counters = closed(sender, callers=4, requests=20)
    assert (answered(counters), counters.statuses) == (18, {"UNAVAILABLE": 2})
    assert server.connections == 2


def test_a_connection_that_is_lost_takes_its_requests_along_and_is_opened_anew() -> None:
    """What comes later goes over the new one."""

    def breaks(peer: PeerConnection) -> None:
        peer.greet()
        peer.request()
        peer.abort()

    with Peer(breaks, echo) as server, sending(server.address) as sender:
        counters = closed(sender, callers=3, requests=30)
    assert answered(counters) + counters.statuses["UNAVAILABLE"] == 30
    assert 1 <= counters.statuses["UNAVAILABLE"] <= 3
    assert server.connections == 2


def test_a_server_that_is_gone_fails_what_is_left() -> None:
    """And the run ends."""
    with Peer(echo) as server, sending(server.address) as sender:
        server.__exit__()
        counters = closed(sender, callers=2, requests=6)
    assert counters.statuses == {"UNAVAILABLE": 6}


def test_a_connection_without_numbers_left_is_replaced() -> None:
    """No request is lost."""
    with Peer(echo) as server, sending(server.address) as sender:
        connections = sender._connections
        assert isinstance(connections, GrpcConnections)
        connection = connections.usable(0)
        assert connection is not None
        connection.http._next_id = 2**31 - 5
        counters = closed(sender, callers=2, requests=20)
    assert (answered(counters), counters.statuses) == (20, {})
    assert server.connections == 2


def test_callers_are_spread_over_the_connections() -> None:
    """Each keeps to its own."""
    streams: list[int] = []

    def script(peer: PeerConnection) -> None:
        peer.greet()
        for stream_id, _, _ in iter(peer.request, None):
            streams.append(stream_id)
            peer.send(answer(stream_id, b""))

    with Peer(script) as server, sending(server.address, connections=3) as sender:
        assert answered(closed(sender, callers=3, requests=3)) == 3
    assert (server.connections, streams) == (3, [1, 1, 1])


def test_no_server_is_told_with_the_reason() -> None:
    """The system's words."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    sender = over_grpc(Target(address=address, method=METHOD, messages=(b"",)), connections=1)
    with pytest.raises(LoadGeneratorError, match=rf"^no connection to {address} within 0\.15 s: .*Connection refused"):
        sender._connections.connect(0.15)


def test_what_is_no_address_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(LoadGeneratorError, match="expected HOST:PORT or unix:PATH of a server, got 'nowhere'"):
        over_grpc(Target(address="nowhere", method=METHOD, messages=(b"",)), connections=1)


def test_a_run_can_be_interrupted() -> None:
    """By a file that can be read, such as the end of a pipe."""
    read, write = os.pipe()

    def script(peer: PeerConnection) -> None:
        peer.greet()
        peer.request()
        os.close(write)
        peer.frame()

    with (
        os.fdopen(read),
        Peer(script) as server,
        sending(server.address, interrupt=read) as sender,
        pytest.raises(Interrupted),
    ):
        closed(sender, callers=1, requests=1)
