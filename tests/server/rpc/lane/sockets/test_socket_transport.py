"""A connected socket that takes as much as it likes: what is written arrives whole and in order."""

from __future__ import annotations

import select
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sardonyx_server.rpc.lane.flow_control.outflow import UNLIMITED_WINDOW, Outflow
from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_wire.http2.errors import Http2ConnectionError

if sys.platform != "linux":
    pytest.skip("the lane needs Linux", allow_module_level=True)

from sardonyx_server.rpc.lane.sockets.socket_transport import SocketTransport

PATIENCE_S = 60.0
# Something at least: who has nothing to say is not asked.
_PARTS = st.lists(
    st.tuples(st.booleans(), st.one_of(st.integers(0, 40), st.integers(0, 200_000))), min_size=1, max_size=6
).filter(lambda parts: any(size for _, size in parts))


class _Handler:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.outflow = Outflow(SendBudget(UNLIMITED_WINDOW), lambda: None)
        self.finished = False
        self.preface_received = True
        self.receive_buffer: memoryview | None = None
        self.is_lost = False

    def receive(self, data: bytes) -> None:
        raise AssertionError(f"nobody has said {data!r}")

    def buffer_updated(self, size: int) -> None:
        raise AssertionError(f"nobody has said {size} bytes")

    def written(self) -> None:
        self.outflow.written()

    def abort(self, error: Http2ConnectionError) -> None:
        raise error

    def connection_lost(self) -> None:
        self.is_lost = True


def _transport(stack: ExitStack, handler: _Handler) -> tuple[SocketTransport, socket.socket, Callable[[], None]]:
    """A transport, the other end of its socket, and what has the transport look once at what the socket can do."""
    near, far = socket.socketpair()
    stack.enter_context(far)
    # A test that waits for what does not come shall end.
    far.settimeout(PATIENCE_S)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    near.setblocking(False)
    epoll = stack.enter_context(select.epoll())
    transport = SocketTransport(near, handler, epoll, on_closed=lambda _: None, on_write_closed=lambda _: None)
    stack.callback(transport.close)

    def look() -> None:
        for _, events in epoll.poll(0):
            transport.on_events(events)

    return transport, far, look


@settings(max_examples=40, deadline=None)
@given(
    bursts=st.lists(_PARTS, min_size=1, max_size=3), takes=st.lists(st.integers(4_000, 200_000), min_size=1, max_size=8)
)
def test_what_is_written_arrives_whole_and_in_order(bursts: list[list[tuple[bool, int]]], takes: list[int]) -> None:
    """However many parts it has, and however little of it the socket takes at a time."""
    handler = _Handler()
    expected, got = bytearray(), bytearray()
    with ExitStack() as stack:
        transport, far, look = _transport(stack, handler)
        turn = 0
        for burst in bursts:
            for is_view, size in burst:
                data = bytes((len(expected) + at) % 251 for at in range(min(size, 512))) * (size // 512 + 1)
                part = data[:size]
                handler.outflow.out.append(memoryview(part) if is_view else part)
                expected += part
            transport.flush()
            got += far.recv(takes[turn % len(takes)])
            look()
            turn += 1
        while len(got) < len(expected):
            got += far.recv(takes[turn % len(takes)])
            look()
            turn += 1
        assert got == expected
        assert not transport.is_writing
        assert not handler.is_lost


def test_more_parts_than_a_write_takes_arrive_in_order() -> None:
    """The system takes 1,024 (IOV_MAX)."""
    handler = _Handler()
    with ExitStack() as stack:
        transport, far, look = _transport(stack, handler)
        parts = [bytes((number % 251,)) * 100 for number in range(3000)]
        handler.outflow.out += parts
        transport.flush()
        got = b""
        while transport.is_writing or len(got) < 300_000:
            got += far.recv(50_000)
            look()
        assert got == b"".join(parts)


def test_a_socket_that_fails_is_closed() -> None:
    """And its handler hears of it, once."""
    handler = _Handler()
    with ExitStack() as stack:
        transport, far, _ = _transport(stack, handler)
        far.close()
        handler.outflow.out.append(bytes(200_000))
        transport.flush()
        assert transport.ended
        assert handler.is_lost


def test_who_never_says_that_it_speaks_http2_is_closed_when_its_time_is_up() -> None:
    """Who has said so may be silent for as long as it likes."""
    handler = _Handler()
    with ExitStack() as stack:
        transport, far, _ = _transport(stack, handler)
        transport.expire()
        assert transport.fd >= 0
        handler.preface_received = False
        transport.expire()
        assert transport.ended
        assert handler.is_lost
        assert far.recv(1) == b""


def test_over_loopback_much_is_not_paced() -> None:
    """Whatever the system is set to. What is little is sent at once either way, and changes nothing."""
    handler = _Handler()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        far = stack.enter_context(socket.create_connection(listener.getsockname()))
        near, _ = listener.accept()
        near.setblocking(False)
        epoll = stack.enter_context(select.epoll())
        transport = SocketTransport(near, handler, epoll, on_closed=lambda _: None, on_write_closed=lambda _: None)
        stack.callback(transport.close)
        before = _congestion(near)
        handler.outflow.out.append(b"little")
        transport.flush()
        assert _congestion(near) == before
        handler.outflow.out.append(bytes(256 * 1024))
        transport.flush()
        assert _congestion(near) == b"reno"
        assert far.recv(6, socket.MSG_WAITALL) == b"little"


def _congestion(connected: socket.socket) -> bytes:
    return connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")
