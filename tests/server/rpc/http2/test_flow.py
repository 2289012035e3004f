"""Flow control both ways: no byte more than the client has room for, and room again for what it sends."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import pytest

from tests.server.rpc.http2.peer import CORE, UNKNOWN_METHOD, Peer
from tests.server.rpc.http2.wire import (
    HEADER,
    MAX_WINDOW,
    PREFACE,
    START_WINDOW,
    WIDE,
    Setting,
    block,
    data,
    headers,
    prefixed,
    request_fields,
    rst_stream,
    settings,
    window_update,
)
from tests.server.rpc.transports import TRANSPORTS, Transport, opened, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.engine.call import Call

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

MIB: Final = 1 << 20
# Five for the prefix of the message.
LARGE: Final = bytes(range(256)) * 800
LARGE_BYTES: Final = len(LARGE) + 5
# What a connection that reads nothing may have the server keep for it.
KEPT_BYTES: Final = 64 * MIB


def greeting(stream_window: int, *, more_for_connection: int = 0) -> bytes:
    """With this room for each stream, and so much more than at first for the connection."""
    more = window_update(0, more_for_connection) if more_for_connection else b""
    return PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: stream_window}) + more


def has(peer: Peer, stream_id: int, size: int) -> Callable[[], bool]:
    """Whether so many bytes have come."""
    return lambda: len(peer.of(stream_id).data) >= size


@pytest.fixture
def room(echo: Transport) -> Iterator[Peer]:
    """A connection with room for 1,000 bytes in each stream and for everything at all."""
    with Peer(echo.address, greeting(1000, more_for_connection=MAX_WINDOW - START_WINDOW)) as connection:
        yield connection


def test_an_answer_stops_at_the_room_of_its_stream(room: Peer) -> None:
    """And goes on by exactly what it is given, to the last byte."""
    stream_id = room.start(LARGE)
    given = 1000
    for more in (1, 2, 16_384, 100, 50_000, 1, LARGE_BYTES):
        room.settle()
        room.read_until(has(room, stream_id, min(given, LARGE_BYTES)))
        room.settle()
        assert len(room.of(stream_id).data) == min(given, LARGE_BYTES)
        given += more
        room.send(window_update(stream_id, more))
    assert room.answer(stream_id).messages == [LARGE]
    assert room.answer(stream_id).well


def test_an_answer_stops_at_the_room_of_the_connection(echo: Transport) -> None:
    """65,535 bytes for all streams together, and then what it is given."""
    with Peer(echo.address, greeting(MAX_WINDOW)) as peer:
        stream_id = peer.start(LARGE)
        given = START_WINDOW
        for more in (1, 30_000, 7, LARGE_BYTES):
            peer.read_until(has(peer, stream_id, given))
            peer.settle()
            assert len(peer.of(stream_id).data) == given
            given += more
            peer.send(window_update(0, more))
        assert peer.answer(stream_id).messages == [LARGE]


def test_an_answer_goes_through_a_window_of_a_byte(echo: Transport) -> None:
    """Given again for each: 45 frames."""
    with Peer(echo.address, greeting(1)) as peer:
        stream_id = peer.start(bytes(40))
        for size in range(1, 45):
            peer.read_until(has(peer, stream_id, size))
            peer.send(window_update(stream_id, 1))
        assert peer.answer(stream_id).messages == [bytes(40)]


def test_no_room_at_first_holds_only_data_back(echo: Transport) -> None:
    """The header of an answer needs none; nor does a status without a message."""
    with Peer(echo.address, greeting(0)) as peer:
        stream_id = peer.start(b"held")
        unknown = peer.start(path=UNKNOWN_METHOD)
        assert peer.answer(unknown).status == 12
        peer.settle()
        assert not peer.of(stream_id).data
        peer.send(window_update(stream_id, 100))
        assert peer.answer(stream_id).messages == [b"held"]


@pytest.mark.parametrize("window", [1, 1000, 10**6, MAX_WINDOW])
def test_settings_give_room_to_streams_that_wait(echo: Transport, window: int) -> None:
    """A new initial window is for those that are open, too (RFC 9113, section 6.9.2)."""
    with Peer(echo.address, greeting(0, more_for_connection=10**6)) as peer:
        stream_ids = [peer.start(bytes(size)) for size in (0, 10, LARGE_BYTES)]
        peer.settle()
        assert not any(peer.of(one).data for one in stream_ids)
        peer.send(settings({Setting.INITIAL_WINDOW_SIZE: window}))
        for one, size in zip(stream_ids, (0, 10, LARGE_BYTES), strict=True):
            peer.read_until(has(peer, one, min(window, size + 5)))
            if size + 5 > window:
                peer.settle()
                assert len(peer.of(one).data) == window
                peer.send(window_update(one, size + 5 - window))
            assert peer.answer(one).messages == [bytes(size)]


def test_settings_may_widen_a_stream_that_was_given_all_there_is(echo: Transport) -> None:
    """What it has used of that is room again: its window is as large as can be said, and no larger."""
    with Peer(echo.address, greeting(START_WINDOW)) as peer:
        stream_id = peer.next_stream_id()
        peer.send(headers(stream_id, HEADER), window_update(stream_id, MAX_WINDOW - START_WINDOW))
        peer.upload(stream_id, prefixed(LARGE))
        peer.read_until(has(peer, stream_id, START_WINDOW))
        peer.send(settings({Setting.INITIAL_WINDOW_SIZE: 2 * START_WINDOW}), window_update(0, LARGE_BYTES))
        assert peer.answer(stream_id).messages == [LARGE]


def test_a_window_that_is_shrunk_under_way_may_be_negative(room: Peer) -> None:
    """1,000 bytes have come; room for 100 leaves 900 too many, which are made good before anything comes."""
    stream_id = room.start(LARGE)
    room.read_until(has(room, stream_id, 1000))
    room.send(settings({Setting.INITIAL_WINDOW_SIZE: 100}))
    room.settle()
    room.send(window_update(stream_id, 900))
    room.settle()
    assert len(room.of(stream_id).data) == 1000
    room.send(window_update(stream_id, 3))
    room.read_until(has(room, stream_id, 1003))
    room.settle()
    assert len(room.of(stream_id).data) == 1003
    other = room.start(bytes(200))
    room.read_until(has(room, other, 100))
    room.settle()
    assert len(room.of(other).data) == 100
    room.send(window_update(other, 200), window_update(stream_id, LARGE_BYTES))
    assert room.answer(other).messages == [bytes(200)]
    assert room.answer(stream_id).messages == [LARGE]


def test_a_window_that_is_shrunk_may_be_made_good_by_settings(room: Peer) -> None:
    """Down to nothing and up again: the same as if it had never been."""
    stream_id = room.start(LARGE)
    room.read_until(has(room, stream_id, 1000))
    room.send(settings({Setting.INITIAL_WINDOW_SIZE: 0}), settings({Setting.INITIAL_WINDOW_SIZE: 1010}))
    room.read_until(has(room, stream_id, 1010))
    room.settle()
    assert len(room.of(stream_id).data) == 1010
    room.send(settings({Setting.INITIAL_WINDOW_SIZE: LARGE_BYTES}))
    assert room.answer(stream_id).messages == [LARGE]


def test_a_stream_without_room_holds_no_other_up(room: Peer) -> None:
    """Small answers pass a large one that waits, in any number."""
    blocked = room.start(LARGE)
    room.read_until(has(room, blocked, 1000))
    assert [room.ask(b"%d" % number) for number in range(50)] == [b"%d" % number for number in range(50)]
    assert len(room.of(blocked).data) == 1000
    room.send(window_update(blocked, LARGE_BYTES))
    assert room.answer(blocked).messages == [LARGE]


def test_streams_that_wait_for_the_connection_all_get_on(echo: Transport) -> None:
    """Ten answers of 20 kB; whatever order the server takes, each comes whole."""
    with Peer(echo.address, greeting(MAX_WINDOW)) as peer:
        stream_ids = [peer.start(bytes((number,)) * 20_000) for number in range(10)]
        peer.read_until(lambda: sum(len(peer.of(one).data) for one in stream_ids) >= START_WINDOW)
        peer.settle()
        assert sum(len(peer.of(one).data) for one in stream_ids) == START_WINDOW
        for _ in range(14):
            peer.send(window_update(0, 10_000))
        for number, one in enumerate(stream_ids):
            assert peer.answer(one).messages == [bytes((number,)) * 20_000]


def test_a_connection_without_room_holds_no_other_connection_up(echo: Transport, bystander: Peer) -> None:
    """Its answers wait; those of others do not."""
    with Peer(echo.address, greeting(MAX_WINDOW)) as peer:
        stream_id = peer.start(LARGE)
        peer.read_until(has(peer, stream_id, START_WINDOW))
        assert [bystander.ask(LARGE) == LARGE for _ in range(5)] == [True] * 5
        peer.send(window_update(0, LARGE_BYTES))
        assert peer.answer(stream_id).messages == [LARGE]


def test_an_answer_that_waits_can_be_reset(echo: Transport, room: Peer) -> None:
    """It is over for the server, too; room for it then is nothing, and the next call has all of its own."""
    for _ in range(20):
        stream_id = room.start(LARGE)
        room.read_until(has(room, stream_id, 1000))
        room.send(rst_stream(stream_id), window_update(stream_id, LARGE_BYTES))
    until(lambda: not echo.serving.open_calls)
    assert room.ask(b"next") == b"next"


def test_what_a_reset_answer_has_used_is_used(echo: Transport) -> None:
    """Its room on the connection does not come back by itself, nor is more of it lost."""
    with Peer(echo.address, greeting(10_000)) as peer:
        blocked = peer.start(LARGE)
        peer.read_until(has(peer, blocked, 10_000))
        peer.send(rst_stream(blocked))
        rest = START_WINDOW - 10_000
        stream_id = peer.start(LARGE)
        peer.send(window_update(stream_id, LARGE_BYTES))
        peer.read_until(has(peer, stream_id, rest))
        peer.settle()
        assert len(peer.of(stream_id).data) == rest
        peer.send(window_update(0, LARGE_BYTES))
        assert peer.answer(stream_id).messages == [LARGE]


def test_a_connection_that_closes_on_a_waiting_answer_leaves_nothing(echo: Transport) -> None:
    """No call is open afterwards."""
    with Peer(echo.address, greeting(1000)) as peer:
        stream_id = peer.start(LARGE)
        peer.read_until(has(peer, stream_id, 1000))
    until(lambda: not echo.serving.open_calls)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_large_message_in_one_stream_is_given_room(name: str) -> None:
    """8 MB, of which every byte arrives."""
    message = bytes(range(256)) * 32_768
    options = (("grpc.max_receive_message_length", -1),)
    with opened(name, options=options, react=_digest) as transport, Peer(transport.address) as peer:
        assert peer.ask(message) == _sum(message)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_many_messages_on_one_connection_are_given_room(name: str) -> None:
    """64 MB in 64 messages one after the other: far beyond any window."""
    message = bytes(range(256)) * 4080
    with opened(name, react=_digest) as transport, Peer(transport.address) as peer:
        assert {peer.ask(message) for _ in range(64)} == {_sum(message)}


def test_room_is_given_back_for_messages_that_nobody_takes(echo: Transport, peer: Peer) -> None:
    """Of calls that are reset halfway, and of a method that is not there: each 8 MB in all, then a call that is."""
    part = prefixed(bytes(MIB))[: MIB // 2]
    for _ in range(16):
        stream_id = peer.next_stream_id()
        peer.send(headers(stream_id, HEADER))
        peer.upload(stream_id, part, end=False)
        peer.send(rst_stream(stream_id))
    for _ in range(16):
        stream_id = peer.next_stream_id()
        peer.send(headers(stream_id, block(request_fields(path=UNKNOWN_METHOD))))
        rest = part
        while rest and not peer.of(stream_id).ended:
            peer.upload(stream_id, rest[:16_384], end=False)
            rest = rest[16_384:]
        assert peer.answer(stream_id).status == 12
        peer.send(rst_stream(stream_id))
    assert peer.ask(bytes(MIB)) == bytes(MIB)


def test_padding_is_given_room_too(echo: Transport, peer: Peer) -> None:
    """It counts as data (RFC 9113, section 6.1): 2 MB of it around a message. grpc's core takes no padding."""
    if echo.name in CORE:
        return
    peer.send(headers(1, HEADER))
    peer.of(1)
    for _ in range(8000):
        while min(peer.window_bytes, peer.of(1).window_bytes) < 256:
            assert peer.take()
        peer.window_bytes -= 256
        peer.of(1).window_bytes -= 256
        peer.send(data(1, padding=255))
    peer.upload(1, prefixed(b"x"))
    assert peer.answer(1).messages == [b"x"]


@pytest.mark.parametrize("said", [WIDE, greeting(0)], ids=["who never reads", "who never has room"])
@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_caller_that_takes_no_answers_is_not_kept_for_without_end(name: str, said: bytes) -> None:
    """2,000 calls of a few bytes whose answers are 128 MB in all, on a connection that takes none of them.

    The server may stop reading, refuse calls or end the connection; others are served meanwhile. The core of grpc does
    none of this: it keeps the answers, and cancels calls of anybody while too many wait.
    """
    answered = [0]

    def react(message: bytes, call: Call) -> None:
        answered[0] += not message
        call.reply(message or b"x" * 65_536)

    with opened(name, react=react) as transport, Peer(transport.address) as bystander:
        with Peer(transport.address, said) as peer:
            calls = b"".join(headers(one, HEADER) + data(one, prefixed(b""), end=True) for one in range(1, 4001, 2))
            peer.pour(calls, bystander.settle)
            meanwhile = [bystander.answer(bystander.start()) for _ in range(20)]
            assert name in CORE or all(answer.well for answer in meanwhile)
            assert name in CORE or answered[0] * 65_536 < KEPT_BYTES
        until(lambda: not transport.serving.open_calls)
        assert bystander.ask(b"afterwards") == b"afterwards"


def _sum(message: bytes) -> bytes:
    return b"%d %d" % (len(message), zlib.crc32(message))


def _digest(message: bytes, call: Call) -> None:
    call.reply(_sum(message))
