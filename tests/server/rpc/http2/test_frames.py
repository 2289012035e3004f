"""Requests in every lawful cut and dress are answered; what a server must acknowledge or ignore, it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.server.rpc.http2.peer import CORE, Peer
from tests.server.rpc.http2.wire import (
    END_HEADERS,
    END_STREAM,
    HEADER,
    PADDED,
    PREFACE,
    PRIORITY,
    WIDE,
    FrameType,
    Setting,
    block,
    call,
    data,
    frame,
    headers,
    ping,
    prefixed,
    settings,
    window_update,
)

if TYPE_CHECKING:
    from tests.server.rpc.transports import Transport

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

# Stream 0 as the parent, not exclusive, weight 16.
DEPENDENCY: Final = bytes((0, 0, 0, 0, 15))
LARGEST_FRAME_BYTES: Final = 16_384


def assert_answers(peer: Peer, stream_id: int, message: bytes) -> None:
    """The call on this stream is answered with its own message."""
    answer = peer.answer(stream_id)
    assert answer.well, answer
    assert answer.messages == [message]
    assert answer.header["content-type"].startswith("application/grpc")


def test_a_greeting_cut_anywhere_is_understood(echo: Transport, bystander: Peer) -> None:
    """Whatever ends the first read: the preface, the settings, a part of either."""
    said = WIDE + call(1, b"cut")
    for cut in range(len(WIDE) + 1):
        with Peer(echo.address, said[:cut]) as peer:
            bystander.ask()
            peer.send(said[cut:])
            assert_answers(peer, 1, b"cut")


def test_a_request_cut_anywhere_is_understood(peer: Peer, bystander: Peer) -> None:
    """With a round trip of another connection in between, so that the server has read the first part by itself."""
    for cut in range(1, len(call(1, b"cut"))):
        stream_id = peer.next_stream_id()
        said = call(stream_id, b"cut")
        peer.send(said[:cut])
        bystander.ask()
        peer.send(said[cut:])
        assert_answers(peer, stream_id, b"cut")


def test_a_connection_byte_by_byte_is_understood(echo: Transport) -> None:
    """Two calls, no two bytes of which come together on purpose."""
    with Peer(echo.address, b"") as peer:
        for byte in WIDE + call(1, b"first") + call(3, b"second"):
            peer.send(bytes((byte,)))
        assert_answers(peer, 1, b"first")
        assert_answers(peer, 3, b"second")


def test_many_calls_in_one_write_are_all_answered(echo: Transport) -> None:
    """The greeting and 300 calls at once, before anything of the server was read."""
    stream_ids = range(1, 600, 2)
    with Peer(echo.address, WIDE + b"".join(call(one, b"%d" % one) for one in stream_ids)) as peer:
        for one in stream_ids:
            assert_answers(peer, one, b"%d" % one)


@pytest.mark.parametrize("pieces", [2, 3, len(HEADER)])
def test_a_header_may_come_in_continuations(peer: Peer, pieces: int) -> None:
    """Up to a byte in each."""
    peer.send(headers(1, HEADER, pieces=pieces), data(1, prefixed(b"x"), end=True))
    assert_answers(peer, 1, b"x")


def test_continuations_may_be_empty(peer: Peer) -> None:
    """Also the first frame of the header."""
    peer.send(
        frame(FrameType.HEADERS, 0, 1),
        frame(FrameType.CONTINUATION, 0, 1),
        frame(FrameType.CONTINUATION, 0, 1, HEADER),
        frame(FrameType.CONTINUATION, END_HEADERS, 1),
        data(1, prefixed(b"x"), end=True),
    )
    assert_answers(peer, 1, b"x")


@pytest.mark.parametrize("flags", [PADDED, PRIORITY, PADDED | PRIORITY])
@pytest.mark.parametrize("pieces", [1, 2])
def test_headers_may_be_padded_and_have_a_priority(echo: Transport, flags: int, pieces: int) -> None:
    """Neither is part of the block. The core of grpc takes the padding for the block, and refuses it."""
    for padding in (0, 1, 255) if flags & PADDED else (0,):
        before = (bytes((padding,)) if flags & PADDED else b"") + (DEPENDENCY if flags & PRIORITY else b"")
        with Peer(echo.address) as peer:
            peer.send(
                headers(1, HEADER, flags=END_HEADERS | flags, pieces=pieces, before=before, after=bytes(padding)),
                data(1, prefixed(b"x"), end=True),
            )
            if echo.name in CORE and flags & PADDED:
                assert peer.answer(1).failed
            else:
                assert_answers(peer, 1, b"x")


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_data_may_be_padded(echo: Transport, peer: Peer, padding: int) -> None:
    """Also a frame of nothing but padding. grpc's core takes the padding for the message, and refuses it."""
    message = prefixed(b"padded")
    peer.send(headers(1, HEADER), data(1, message[:7], padding=padding), data(1, padding=padding))
    peer.send(data(1, message[7:], end=True, padding=padding))
    if echo.name in CORE:
        assert peer.answer(1).failed
    else:
        assert_answers(peer, 1, b"padded")


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 700])
def test_a_message_may_come_in_many_frames(peer: Peer, size: int) -> None:
    """Cut within its prefix, and within its body."""
    message = bytes(range(256)) * 4
    said = prefixed(message)
    peer.send(headers(1, HEADER))
    for at in range(0, len(said), size):
        peer.send(data(1, said[at : at + size], end=at + size >= len(said)))
    assert_answers(peer, 1, message)


def test_empty_data_between_is_nothing(peer: Peer) -> None:
    """Before, within and after the message."""
    said = prefixed(b"holes")
    peer.send(headers(1, HEADER), data(1))
    for byte in said:
        peer.send(data(1, bytes((byte,))), data(1))
    peer.send(data(1), data(1, end=True))
    assert_answers(peer, 1, b"holes")


def test_a_frame_of_the_largest_size_is_taken(peer: Peer) -> None:
    """16,384 bytes, which every server must take; and a message of exactly that many."""
    message = bytes(LARGEST_FRAME_BYTES - 5)
    peer.send(headers(1, HEADER), data(1, prefixed(message), end=True))
    assert_answers(peer, 1, message)


def test_an_empty_message_is_a_message(peer: Peer) -> None:
    """Five bytes."""
    assert peer.ask(b"") == b""


def test_trailers_of_a_client_end_its_stream(peer: Peer) -> None:
    """The protocol of gRPC knows none; HTTP/2 does, and proxies may send some."""
    peer.send(headers(1, HEADER), data(1, prefixed(b"x")))
    peer.send(headers(1, block([("x-trailer", "1")]), flags=END_HEADERS | END_STREAM))
    answer = peer.answer(1)
    assert answer.messages == [b"x"] or answer.failed  # grpc's core answers


def test_streams_may_be_interleaved_frame_by_frame(peer: Peer) -> None:
    """Eight calls, a byte of each in turn; the last that began is the first that ends."""
    stream_ids = [peer.next_stream_id() for _ in range(8)]
    said = {one: prefixed(b"%03d" % (one % 1000)) for one in stream_ids}
    peer.send(*(headers(one, HEADER) for one in stream_ids))
    for at in range(8):
        peer.send(*(data(one, said[one][at : at + 1]) for one in stream_ids))
    for one in reversed(stream_ids):
        peer.send(data(one, end=True))
        assert_answers(peer, one, said[one][5:])


def test_stream_ids_may_have_gaps(peer: Peer) -> None:
    """They only have to rise, up to the last there is."""
    for stream_id in (7, 9, 10_001, 2**31 - 1):
        peer.send(call(stream_id, b"x"))
        assert_answers(peer, stream_id, b"x")


def test_the_reserved_bit_is_ignored(peer: Peer) -> None:
    """Of a stream's number."""
    peer.send(headers(1, HEADER)[:5] + b"\x80" + headers(1, HEADER)[6:], data(1, prefixed(b"x"), end=True))
    assert_answers(peer, 1, b"x")


def test_a_ping_is_acknowledged_with_its_own_bytes(peer: Peer) -> None:
    """Also in the midst of a message."""
    peer.send(ping(b"\x00\x01\x02\x03\xfc\xfd\xfe\xff"), headers(1, HEADER), ping(b"second!!"))
    peer.send(data(1, prefixed(b"x")[:3]), ping(b"third!!!"), data(1, prefixed(b"x")[3:], end=True))
    assert_answers(peer, 1, b"x")
    peer.settle()
    assert peer.pings[:3] == [b"\x00\x01\x02\x03\xfc\xfd\xfe\xff", b"second!!", b"third!!!"]


def test_a_ping_that_acknowledges_nothing_is_ignored(peer: Peer) -> None:
    """An answer to an answer would have no end."""
    peer.send(frame(FrameType.PING, 1, 0, b"unasked!"))
    assert peer.ask(b"x") == b"x"
    peer.settle()
    assert b"unasked!" not in peer.pings


def test_settings_are_acknowledged_each_time(peer: Peer) -> None:
    """Those of the greeting and two more."""
    peer.send(settings(), settings({Setting.MAX_CONCURRENT_STREAMS: 7}))
    peer.settle()
    assert peer.settings_acknowledged == 3


def test_the_server_says_its_settings_first(echo: Transport) -> None:
    """They are its preface (RFC 9113, section 3.4)."""
    with Peer(echo.address) as peer:
        first = peer.take()
        assert first is not None
        assert (first.kind, first.flags, first.stream_id) == (FrameType.SETTINGS, 0, 0)


@pytest.mark.parametrize(
    "ignored",
    [
        pytest.param(frame(0xEE, 0xFF, 0, b"unknown"), id="unknown frame of the connection"),
        pytest.param(frame(0xEE, 0xFF, 1, b"unknown"), id="unknown frame of the stream"),
        pytest.param(frame(0xEE, 0xFF, 99, b"unknown"), id="unknown frame of a stream that is idle"),
        pytest.param(frame(0xEE, 0, 0, bytes(16_384)), id="unknown frame of the largest size"),
        pytest.param(frame(0xEE, 0, 0), id="unknown frame with nothing in it"),
        pytest.param(frame(10, 0, 0, b"\x00\x01aaltsvc"), id="ALTSVC"),
        pytest.param(frame(16, 0, 0, b"\x00\x00\x00\x01u=1"), id="PRIORITY_UPDATE"),
        pytest.param(settings({0xEEEE: 7, 0: 1, 0xFFFF: 2**32 - 1}), id="unknown settings"),
        pytest.param(settings({65027: 1}), id="grpc's own setting"),
        pytest.param(frame(FrameType.PRIORITY, 0, 1, DEPENDENCY), id="PRIORITY of the stream"),
        pytest.param(frame(FrameType.PRIORITY, 0, 99, DEPENDENCY), id="PRIORITY of a stream that is idle"),
        pytest.param(window_update(0, 1), id="room for the connection"),
        pytest.param(window_update(1, 1), id="room for the stream"),
    ],
)
def test_what_a_server_need_not_know_changes_nothing(echo: Transport, ignored: bytes) -> None:
    """Right after the greeting where it is of no stream, within a call and after one."""
    with Peer(echo.address, PREFACE + settings()) as peer:
        peer.send(headers(1, HEADER), ignored, data(1, prefixed(b"first")[:4]), ignored)
        peer.send(data(1, prefixed(b"first")[4:], end=True))
        assert_answers(peer, 1, b"first")
        peer.send(ignored)
        assert peer.ask(b"second") == b"second"


@pytest.mark.parametrize(
    "own",
    [
        {},
        {Setting.HEADER_TABLE_SIZE: 0},
        {Setting.HEADER_TABLE_SIZE: 2**32 - 1},
        {Setting.MAX_FRAME_SIZE: 16_384},
        {Setting.MAX_FRAME_SIZE: 2**24 - 1},
        {Setting.INITIAL_WINDOW_SIZE: 2**31 - 1},
        {Setting.MAX_CONCURRENT_STREAMS: 0},
        {Setting.MAX_HEADER_LIST_SIZE: 2**32 - 1},
        {Setting.ENABLE_PUSH: 0},
        {Setting.ENABLE_PUSH: 1},
        dict.fromkeys(Setting, 0) | {Setting.MAX_FRAME_SIZE: 16_384, Setting.INITIAL_WINDOW_SIZE: 100},
    ],
    ids=str,
)
def test_whatever_a_client_says_of_itself_it_is_answered(echo: Transport, own: dict[int, int]) -> None:
    """Twice, with the first answer's fields in the tables; the decoder here is strict about its table's size."""
    with Peer(echo.address, PREFACE + settings(own)) as peer:
        peer.decoder.max_allowed_table_size = min(own.get(Setting.HEADER_TABLE_SIZE, 4096), 1 << 20)
        if Setting.MAX_HEADER_LIST_SIZE in own and not own[Setting.MAX_HEADER_LIST_SIZE]:
            peer.send(settings({Setting.MAX_HEADER_LIST_SIZE: 1 << 20}))
        assert [peer.ask(b"first"), peer.ask(b"second")] == [b"first", b"second"]


def test_frames_of_an_answer_keep_to_the_size_the_client_takes(echo: Transport) -> None:
    """16,384 bytes where nothing is said, and nothing more than what is said."""
    for largest in (None, 16_384, 20_000):
        own = {} if largest is None else {Setting.MAX_FRAME_SIZE: largest}
        with Peer(echo.address, WIDE + settings(own)) as peer:
            stream_id = peer.start(bytes(60_000))
            while not peer.of(stream_id).ended:
                found = peer.take()
                assert found is not None
                assert len(found.payload) <= (largest or 16_384)
            assert peer.of(stream_id).messages == [bytes(60_000)]
