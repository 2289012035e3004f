"""An upstream connection without a socket: the test is the client's side, and says what the grpcio server sends."""

from __future__ import annotations

from typing import Any

import pytest

from sardonyx_server.errors import ServerError
from sardonyx_server.rpc.lane.flow_control.outflow import UNLIMITED_WINDOW
from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget
from sardonyx_server.rpc.lane.proxy.upstream_connection import UpstreamConnection
from sardonyx_wire.http2.errors import Http2ConnectionError
from tests.server.rpc.http2.wire import START_WINDOW, FrameType, Setting, rst_stream, settings, window_update

# Of HTTP/2: nothing was done of it.
REFUSED_STREAM = 7


class Caller:
    """The client's side: keeps what it is told of streams."""

    peer = "ipv4:127.0.0.1:1"
    initial_window = 65_535
    stopping = False

    def __init__(self) -> None:
        self.send_budget = SendBudget(UNLIMITED_WINDOW)
        self.sent: list[bytes] = []
        self.ended_ids: list[int] = []
        self.watched: list[Any] = []
        self.failed: list[Any] = []

    def send_downstream(self, _stream: Any, part: memoryview | bytes, _upstream: UpstreamConnection) -> None:
        """See ``connection_proxy.ConnectionProxy``."""
        self.sent.append(bytes(part))

    def watch(self, stream: Any) -> None:
        """See ``connection_proxy.ConnectionProxy``."""
        self.watched.append(stream)

    def fail(self, stream: Any, error: ServerError) -> None:
        """See ``connection_proxy.ConnectionProxy``."""
        self.failed.append((stream, error.message))

    def write(self, frames: bytes) -> None:
        """See ``connection_proxy.ConnectionProxy``."""

    def closed(self, stream: Any) -> None:
        """See ``connection_proxy.ConnectionProxy``."""
        self.ended_ids.append(stream.id)


def opened() -> tuple[UpstreamConnection, Caller, list[UpstreamConnection]]:
    """An upstream connection whose preface has been written, its client's side, and what it touches from now on."""
    touched: list[UpstreamConnection] = []
    caller: Any = Caller()
    upstream = UpstreamConnection(caller, touched.append)
    upstream.outflow.out.clear()
    touched.clear()
    return upstream, caller, touched


def test_an_upstream_connection_that_is_broken_off_is_to_be_closed() -> None:
    """Its wire looks whether it is finished where it is touched, and at no other time."""
    upstream, caller, touched = opened()
    upstream.open(1, [], end=True)
    upstream.outflow.out.clear()
    touched.clear()
    with pytest.raises(Http2ConnectionError) as broken:
        upstream.receive(settings({Setting.MAX_FRAME_SIZE: 1}))
    upstream.abort(broken.value)
    assert upstream.finished
    assert touched == [upstream]
    assert caller.sent == [rst_stream(1, REFUSED_STREAM)]


def test_an_upstream_connection_that_is_closed_takes_nothing_more() -> None:
    """Nobody writes it any more: a caller that changes its settings for ever must not fill the memory."""
    upstream, caller, touched = opened()
    upstream.open(1, [], end=False)
    upstream.outflow.out.clear()
    upstream.connection_lost()
    assert caller.ended_ids == [1]
    touched.clear()
    for _ in range(100):
        upstream.set_initial_window(100_000)
        upstream.return_credit(1 << 20)
    assert not upstream.outflow.out
    assert not touched


def test_headers_wait_for_the_grpcio_server_up_to_a_bound() -> None:
    """Each is written out in full for it, whatever few bytes the caller said it in."""
    upstream, _, _ = opened()
    opened_streams = 0
    while not upstream.is_backlogged:
        upstream.open(2 * opened_streams + 1, [(b"a", bytes(60_000))], end=True)
        opened_streams += 1
    assert 4 << 20 < sum(map(len, upstream.outflow.out)) < 6 << 20
    upstream.outflow.out.clear()
    upstream.written()
    assert not upstream.is_backlogged


def test_data_in_tiny_pieces_wait_together() -> None:
    """An object for each byte that the grpcio server does not take was two hundred times the memory."""
    upstream, caller, _ = opened()
    stream = upstream.open(1, [], end=False)
    upstream.outflow.out.clear()
    sent = bytes(number % 251 for number in range(START_WINDOW + 3000))
    stream.on_data(sent, 0, START_WINDOW, False)
    for begin in range(START_WINDOW, len(sent)):
        stream.on_data(sent, begin, begin + 1, False)
    assert len(stream.queue.parts) <= 257
    assert caller.send_budget.used_bytes == stream.buffered_bytes == 3000
    stream.half_close()
    upstream.receive(window_update(0, 1 << 20) + window_update(1, 1 << 20))
    # Every second part is the head of a frame.
    assert b"".join(upstream.outflow.out[1::2])[: len(sent)] == sent
    assert upstream.outflow.out[-1][3:5] == bytes((FrameType.DATA, 1))
    assert caller.send_budget.used_bytes == 0


def test_data_behind_the_end_of_a_stream_go_nowhere() -> None:
    """The caller had said that there are none."""
    upstream, _, _ = opened()
    stream = upstream.open(1, [], end=True)
    upstream.outflow.out.clear()
    stream.on_data(b"more", 0, 4, True)
    assert not upstream.outflow.out


def test_a_request_that_does_not_come_is_not_waited_for() -> None:
    """As long as some of it comes, or the grpcio server does not take it, there is time."""
    upstream, caller, _ = opened()
    stream = upstream.open(1, [], end=False)
    assert caller.watched == [stream]
    stream.expire()
    assert caller.watched == [stream, stream]
    stream.on_data(bytes(START_WINDOW + 1), 0, START_WINDOW + 1, False)
    stream.deadline_s = 0.0
    stream.expire()
    assert not caller.failed
    upstream.receive(window_update(1, 1 << 20) + window_update(0, 1 << 20))
    assert not stream.buffered_bytes
    stream.deadline_s = 0.0
    stream.expire()
    assert caller.failed == [(stream, "the request did not come whole: nothing of it came for 60 s")]


def test_a_request_that_is_whole_waits_for_its_answer_as_long_as_that_takes() -> None:
    """Nor is one ended that is over already."""
    upstream, caller, _ = opened()
    whole, over = upstream.open(1, [], end=True), upstream.open(3, [], end=False)
    assert caller.watched == [over]
    over.cancel()
    for stream in (whole, over):
        stream.deadline_s = 0.0
        stream.expire()
    assert not caller.failed
