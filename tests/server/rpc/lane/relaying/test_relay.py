"""A relay without a socket: the test is the caller's side, and says what the stock server sends."""

from __future__ import annotations

from typing import Any

import pytest

from sardonyx_server.errors import ServerError
from sardonyx_server.rpc.lane.relaying.relay import Relay
from sardonyx_server.rpc.lane.windows.held import HeldBytes
from sardonyx_server.rpc.lane.windows.outflow import NO_WINDOW
from sardonyx_wire.http2.errors import Http2ConnectionError
from tests.server.rpc.http2.wire import START_WINDOW, FrameType, Setting, rst_stream, settings, window_update

# Of HTTP/2: nothing was done of it.
REFUSED_STREAM = 7


class Caller:
    """The caller's side: keeps what it is told of streams."""

    peer = "ipv4:127.0.0.1:1"
    initial_window = 65_535
    stopping = False

    def __init__(self) -> None:
        self.held = HeldBytes(NO_WINDOW)
        self.sent: list[bytes] = []
        self.ended_ids: list[int] = []
        self.watched: list[Any] = []
        self.failed: list[Any] = []

    def send(self, _stream: Any, part: memoryview | bytes, _relay: Relay) -> None:
        """See ``relays.Relays``."""
        self.sent.append(bytes(part))

    def watch(self, stream: Any) -> None:
        """See ``relays.Relays``."""
        self.watched.append(stream)

    def fail(self, stream: Any, error: ServerError) -> None:
        """See ``relays.Relays``."""
        self.failed.append((stream, error.message))

    def put(self, frames: bytes) -> None:
        """See ``relays.Relays``."""

    def ended(self, stream: Any) -> None:
        """See ``relays.Relays``."""
        self.ended_ids.append(stream.id)


def opened() -> tuple[Relay, Caller, list[Relay]]:
    """A relay whose greeting has been written, its caller, and what it wants to be written from now on."""
    touched: list[Relay] = []
    caller: Any = Caller()
    relay = Relay(caller, touched.append)
    relay.outflow.out.clear()
    touched.clear()
    return relay, caller, touched


def test_a_relay_that_is_broken_off_is_to_be_closed() -> None:
    """Its wire looks whether it is finished where it is touched, and at no other time."""
    relay, caller, touched = opened()
    relay.open(1, [], end=True)
    relay.outflow.out.clear()
    touched.clear()
    with pytest.raises(Http2ConnectionError) as broken:
        relay.receive(settings({Setting.MAX_FRAME_SIZE: 1}))
    relay.break_off(broken.value)
    assert relay.finished
    assert touched == [relay]
    assert caller.sent == [rst_stream(1, REFUSED_STREAM)]


def test_a_relay_that_is_over_takes_nothing_more() -> None:
    """Nobody writes it any more: a caller that changes its settings for ever must not fill the memory."""
    relay, caller, touched = opened()
    relay.open(1, [], end=False)
    relay.outflow.out.clear()
    relay.lost()
    assert caller.ended_ids == [1]
    touched.clear()
    for _ in range(100):
        relay.set_initial_window(100_000)
        relay.returned(1 << 20)
    assert not relay.outflow.out
    assert not touched


def test_headers_wait_for_the_stock_server_up_to_a_bound() -> None:
    """Each is written out in full for it, whatever few bytes the caller said it in."""
    relay, _, _ = opened()
    opened_streams = 0
    while not relay.is_behind:
        relay.open(2 * opened_streams + 1, [(b"a", bytes(60_000))], end=True)
        opened_streams += 1
    assert 4 << 20 < sum(map(len, relay.outflow.out)) < 6 << 20
    relay.outflow.out.clear()
    relay.written()
    assert not relay.is_behind


def test_data_in_tiny_pieces_wait_together() -> None:
    """An object for each byte that the stock server does not take was two hundred times the memory."""
    relay, caller, _ = opened()
    stream = relay.open(1, [], end=False)
    relay.outflow.out.clear()
    sent = bytes(number % 251 for number in range(START_WINDOW + 3000))
    stream.data(sent, 0, START_WINDOW, False)
    for begin in range(START_WINDOW, len(sent)):
        stream.data(sent, begin, begin + 1, False)
    assert len(stream.flow.parts) <= 257
    assert caller.held.bytes == stream.held == 3000
    stream.half_close()
    relay.receive(window_update(0, 1 << 20) + window_update(1, 1 << 20))
    # Every second part is the head of a frame.
    assert b"".join(relay.outflow.out[1::2])[: len(sent)] == sent
    assert relay.outflow.out[-1][3:5] == bytes((FrameType.DATA, 1))
    assert caller.held.bytes == 0


def test_data_behind_the_end_of_a_stream_go_nowhere() -> None:
    """The caller had said that there are none."""
    relay, _, _ = opened()
    stream = relay.open(1, [], end=True)
    relay.outflow.out.clear()
    stream.data(b"more", 0, 4, True)
    assert not relay.outflow.out


def test_a_request_that_does_not_come_is_not_waited_for() -> None:
    """As long as some of it comes, or the stock server does not take it, there is time."""
    relay, caller, _ = opened()
    stream = relay.open(1, [], end=False)
    assert caller.watched == [stream]
    stream.expire()
    assert caller.watched == [stream, stream]
    stream.data(bytes(START_WINDOW + 1), 0, START_WINDOW + 1, False)
    stream.deadline_s = 0.0
    stream.expire()
    assert not caller.failed
    relay.receive(window_update(1, 1 << 20) + window_update(0, 1 << 20))
    assert not stream.held
    stream.deadline_s = 0.0
    stream.expire()
    assert caller.failed == [(stream, "the request did not come whole: nothing of it came for 60 s")]


def test_a_request_that_is_whole_waits_for_its_answer_as_long_as_that_takes() -> None:
    """Nor is one ended that is over already."""
    relay, caller, _ = opened()
    whole, over = relay.open(1, [], end=True), relay.open(3, [], end=False)
    assert caller.watched == [over]
    over.drop()
    for stream in (whole, over):
        stream.deadline_s = 0.0
        stream.expire()
    assert not caller.failed
