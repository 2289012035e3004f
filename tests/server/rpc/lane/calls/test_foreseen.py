"""Large messages that are refused by their beginning: what the caller hears, sends and may send afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
import pytest

from sardonyx_server.errors import Overloaded
from sardonyx_server.rpc.lane.flow_control.inflow import (
    MAX_STREAM_WINDOW_BYTES,
    NARROW_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
)
from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.http2.wire import Setting, block, data, headers, prefixed, request_fields, rst_stream
from tests.server.rpc.transports import STREAM_METHOD, Transport, opened, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sardonyx_server.engine.call import Call

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

UNAVAILABLE: Final = 14
PICTURE: Final = bytes(range(256)) * 2400
REFUSED: Final = b"refuse " + PICTURE
HEADER: Final = block(request_fields())


def echo(message: bytes, call: Call) -> None:
    """Answer with the same."""
    call.reply(bytes(message))


@pytest.fixture
def lane() -> Iterator[Transport]:
    """An echo that is too busy for messages that begin with "refuse"."""
    with opened("lane", react=echo) as transport:
        transport.calls.foresees = lambda beginning, _: Overloaded("busy") if beginning[:6] == b"refuse" else None
        yield transport


@pytest.fixture
def peer(lane: Transport) -> Iterator[Peer]:
    """A connection to it, which has heard its settings."""
    with Peer(lane.address) as connection:
        connection.settle()
        yield connection


def begin(peer: Peer, message: bytes, size: int = 20_000, *, path: str | None = None) -> int:
    """A call of which so many bytes are sent, with the head of the message."""
    stream_id = peer.next_stream_id()
    fields = request_fields() if path is None else request_fields(path=path)
    peer.send(headers(stream_id, block(fields, huffman=False)))
    peer.upload(stream_id, prefixed(message)[:size], end=False)
    return stream_id


def refuse(peer: Peer) -> None:
    """Have a large message refused."""
    answer = peer.answer(begin(peer, REFUSED))
    assert answer.status == UNAVAILABLE


def test_a_message_is_refused_by_its_beginning(lane: Transport, peer: Peer) -> None:
    """The caller has its status before the rest has been sent, and the lane has what it needs to judge."""
    seen: list[tuple[bytes, int]] = []

    def judge(beginning: bytes, size: int) -> Overloaded:
        seen.append((beginning, size))
        return Overloaded("busy", retry_after_s=0.25)

    lane.calls.foresees = judge
    answer = peer.answer(begin(peer, PICTURE))
    assert (answer.status, answer.trailers["grpc-message"]) == (UNAVAILABLE, "busy")
    assert answer.trailers["grpc-retry-pushback-ms"] == "250"
    ((beginning, size),) = seen
    assert size == len(PICTURE)
    assert beginning
    assert PICTURE.startswith(beginning)
    assert lane.calls.none_has_come()


def test_what_the_caller_has_sent_meanwhile_is_dropped(peer: Peer) -> None:
    """It may not have heard yet; the connection goes on."""
    stream_id = begin(peer, REFUSED)
    peer.send(data(stream_id, bytes(16_384)), data(stream_id, bytes(1000), end=True))
    assert peer.answer(stream_id).status == UNAVAILABLE
    other = begin(peer, REFUSED)
    peer.send(rst_stream(other))
    assert peer.ask(PICTURE) == PICTURE


def test_a_message_that_is_there_whole_is_not_foreseen(lane: Transport, peer: Peer) -> None:
    """It goes its way: the queue says the same."""
    lane.calls.foresees = lambda _beginning, _size: Overloaded("busy")
    assert peer.ask(b"refuse nothing") == b"refuse nothing"


def test_streams_that_follow_may_send_less_until_they_are_let(peer: Peer) -> None:
    """A message that may come is given its room, to the byte."""
    refuse(peer)
    peer.settle()
    assert peer.settings[Setting.INITIAL_WINDOW_SIZE] == NARROW_WINDOW_BYTES
    stream_id = peer.next_stream_id()
    assert peer.of(stream_id).window_bytes == NARROW_WINDOW_BYTES
    peer.send(headers(stream_id, HEADER))
    peer.upload(stream_id, prefixed(PICTURE))
    assert peer.answer(stream_id).messages == [PICTURE]
    assert peer.of(stream_id).window_bytes == 0
    small = bytes(NARROW_WINDOW_BYTES - 5)
    assert peer.ask(small) == small


def test_streams_that_are_open_may_send_as_much_as_before(peer: Peer) -> None:
    """It is taken from them as well, and given back."""
    opened_ones = [begin(peer, PICTURE, 100, path=path) for path in (None, STREAM_METHOD)]
    picture, stream = opened_ones
    peer.settle()
    before = [peer.of(one).window_bytes for one in opened_ones]
    refuse(peer)
    peer.settle()
    assert peer.settings[Setting.INITIAL_WINDOW_SIZE] == NARROW_WINDOW_BYTES
    assert [peer.of(one).window_bytes for one in opened_ones] == before
    peer.upload(picture, prefixed(PICTURE)[100:])
    assert peer.answer(picture).messages == [PICTURE]
    peer.upload(stream, prefixed(PICTURE)[100:])
    peer.read_until(lambda: len(peer.of(stream).data) > len(PICTURE))


@pytest.mark.parametrize("path", [STREAM_METHOD, "/test.Relayed/Other"])
def test_streams_of_requests_and_relayed_ones_have_all_their_room(peer: Peer, path: str) -> None:
    """Only unary calls wait to be given it."""
    refuse(peer)
    peer.settle()
    stream_id = peer.next_stream_id()
    peer.send(headers(stream_id, block(request_fields(path=path), huffman=False)))
    peer.settle()
    answer = peer.of(stream_id)
    assert answer.ended or answer.window_bytes == STREAM_WINDOW_BYTES <= MAX_STREAM_WINDOW_BYTES


def test_who_is_on_its_way_is_told_of_once(lane: Transport, peer: Peer) -> None:
    """When its message has come, when it goes away, and when its connection does."""
    calls = lane.calls
    whole, gone = begin(peer, PICTURE), begin(peer, PICTURE)
    peer.settle()
    assert calls.on_their_way == 2
    peer.send(rst_stream(gone))
    peer.settle()
    assert calls.on_their_way == 1
    peer.upload(whole, prefixed(PICTURE)[20_000:])
    assert peer.answer(whole).messages == [PICTURE]
    assert calls.on_their_way == 0
    begin(peer, PICTURE)
    peer.settle()
    assert calls.on_their_way == 1
    peer.raw.close()
    until(lambda: calls.on_their_way == 0)


def test_grpcios_clients_hear_the_status_and_go_on(lane: Transport) -> None:
    """Two hundred refusals among calls that are answered, on one connection: no room is lost."""
    for _ in range(10):
        refused = [lane.send(REFUSED) for _ in range(20)]
        taken = [lane.send(PICTURE) for _ in range(5)]
        for call in refused:
            assert call.exception().code() is grpc.StatusCode.UNAVAILABLE
            assert call.exception().details() == "busy"
        assert all(call.result() == PICTURE for call in taken)
    assert lane.send(PICTURE * 4).result() == PICTURE * 4
    assert lane.calls.on_their_way == 0
