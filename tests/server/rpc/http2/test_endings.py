"""Calls that end otherwise than by their answer: reset, left, half said, said twice, too long, compressed."""

from __future__ import annotations

import gzip
import socket
import struct
import zlib
from typing import TYPE_CHECKING, Final

import pytest

from sardonyx_server.errors import InvalidRequest
from tests.server.rpc.http2.peer import CORE, Peer
from tests.server.rpc.http2.wire import (
    END_HEADERS,
    END_STREAM,
    HEADER,
    WIDE,
    FrameType,
    block,
    data,
    frame,
    headers,
    prefixed,
    request_fields,
    rst_stream,
)
from tests.server.rpc.transports import TRANSPORTS, Transport, opened, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

WHOLE: Final = headers(1, HEADER) + data(1, prefixed(b"message"), end=True)
# Moments of a call: within the header, after it, within the prefix of the message, within the message, after it.
MOMENTS: Final = {
    "within the header": len(headers(1, HEADER)) - 3,
    "after the header": len(headers(1, HEADER)),
    "within a frame's head": len(headers(1, HEADER)) + 5,
    "within the prefix": len(headers(1, HEADER)) + 11,
    "within the message": len(WHOLE) - 3,
}
RESOURCE_EXHAUSTED: Final = 8
CODES: Final = {"NO_ERROR": 0, "PROTOCOL_ERROR": 1, "CANCEL": 8, "unknown": 0xFFFFFFFF}


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Each transport, with calls that wait for the test, and messages of 100,000 bytes at most."""
    with opened(request.param, options=(("grpc.max_receive_message_length", 100_000),)) as running:
        yield running


@pytest.fixture
def client(transport: Transport) -> Iterator[Peer]:
    """A connection to it."""
    with Peer(transport.address) as connection:
        yield connection


def assert_served(transport: Transport, client: Peer | None = None) -> None:
    """The next call is answered, on this connection or on a new one, and nothing of the others is left."""
    if client is None:
        with Peer(transport.address) as fresh:
            assert_served(transport, fresh)
        return
    stream_id = client.start(b"well")
    message, call = transport.calls.take()
    assert message == b"well"
    call.reply(b"answer")
    answer = client.answer(stream_id)
    assert answer.well
    assert answer.messages == [b"answer"]
    until(lambda: not transport.serving.open_calls)
    assert transport.calls.none_has_come()


def let_go(client: Peer, *, abruptly: bool) -> None:
    """End the connection with FIN, or with RST."""
    if abruptly:
        client.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.raw.close()


@pytest.mark.parametrize("code", CODES.values(), ids=list(CODES))
def test_a_reset_before_the_message_is_the_end(transport: Transport, client: Peer, code: int) -> None:
    """After the header, within the message, and within its prefix: no call comes of it."""
    for stream_id, said in ((1, b""), (3, b"\x00\x00"), (5, prefixed(b"message")[:-1]), (7, b"")):
        client.send(headers(stream_id, HEADER), *([data(stream_id, said)] if said else []), rst_stream(stream_id, code))
    assert_served(transport, client)


@pytest.mark.parametrize("code", CODES.values(), ids=list(CODES))
def test_a_reset_is_a_cancellation_for_a_call_that_is_watched(transport: Transport, client: Peer, code: int) -> None:
    """Whatever its code; an answer that comes then is swallowed, and the connection goes on."""
    stream_id = client.start()
    _, call = transport.calls.take()
    call.watch()
    assert not call.cancelled
    client.send(rst_stream(stream_id, code))
    until(lambda: call.cancelled)
    call.reply(b"too late")
    assert_served(transport, client)
    assert not client.of(stream_id).ended
    assert not client.of(stream_id).data


def test_a_call_that_was_reset_before_it_was_watched_is_cancelled(transport: Transport, client: Peer) -> None:
    """The server knew before anybody asked."""
    stream_id = client.start()
    _, call = transport.calls.take()
    client.send(rst_stream(stream_id))
    client.settle()
    call.watch()
    until(lambda: call.cancelled)
    call.reply(b"too late")
    assert_served(transport, client)


def test_a_reset_after_the_answer_does_no_harm(transport: Transport, client: Peer) -> None:
    """It may cross the answer on its way; the stream is closed, and says nothing more."""
    for _ in range(10):
        stream_id = client.start()
        _, call = transport.calls.take()
        call.reply(b"answer")
        assert client.answer(stream_id).well
        client.send(rst_stream(stream_id))
    assert_served(transport, client)


def test_an_answer_and_a_reset_may_cross(transport: Transport, client: Peer) -> None:
    """50 times: either is first, nothing is left over."""
    for _ in range(50):
        stream_id = client.start()
        _, call = transport.calls.take()
        client.send(rst_stream(stream_id))
        call.reply(b"answer")
    assert_served(transport, client)


@pytest.mark.parametrize("abruptly", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=list(MOMENTS))
def test_a_connection_that_ends_within_a_request_leaves_nothing(
    transport: Transport, moment: int, abruptly: bool
) -> None:
    """At each of its moments; no call comes of it."""
    with Peer(transport.address) as bystander, Peer(transport.address) as client:
        client.send(WHOLE[:moment])
        bystander.settle()
        let_go(client, abruptly=abruptly)
        assert_served(transport)


@pytest.mark.parametrize("abruptly", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("cut", [0, 1, 10, 24, 26, 33, len(WIDE)])
def test_a_connection_that_ends_within_its_greeting_leaves_nothing(
    transport: Transport, cut: int, abruptly: bool
) -> None:
    """Also one that has said nothing at all."""
    with Peer(transport.address) as bystander, Peer(transport.address, WIDE[:cut]) as client:
        bystander.settle()
        let_go(client, abruptly=abruptly)
        assert_served(transport)


@pytest.mark.parametrize("abruptly", [False, True], ids=["FIN", "RST"])
def test_a_connection_that_ends_is_a_cancellation_of_all_its_calls(transport: Transport, abruptly: bool) -> None:
    """Of those that are watched already, and of those that are watched later."""
    with Peer(transport.address) as client:
        for _ in range(5):
            client.start()
        calls = [transport.calls.take()[1] for _ in range(5)]
        for call in calls[:4]:
            call.watch()
        let_go(client, abruptly=abruptly)
    until(lambda: all(call.cancelled for call in calls[:4]))
    calls[4].watch()
    until(lambda: calls[4].cancelled)
    for call in calls:
        call.reply(b"too late")
    assert_served(transport)


def test_a_connection_that_breaks_the_rules_is_a_cancellation_of_all_its_calls(transport: Transport) -> None:
    """Although the client has not closed it: it will hear nothing more."""
    with Peer(transport.address) as client:
        for _ in range(3):
            client.start()
        calls = [transport.calls.take()[1] for _ in range(3)]
        for call in calls:
            call.watch()
        client.send(frame(FrameType.SETTINGS, 0, 1))
        until(lambda: all(call.cancelled for call in calls))
        for call in calls:
            call.reply(b"too late")
        assert_served(transport)


def test_a_client_that_only_stops_sending_may_be_answered(transport: Transport, client: Peer) -> None:
    """A FIN in one direction. Servers differ: the answer comes, or the calls are over; nothing is left either way."""
    stream_id = client.start()
    _, call = transport.calls.take()
    client.raw.shutdown(socket.SHUT_WR)
    call.reply(b"answer")
    while client.take():
        pass
    answer = client.of(stream_id)
    assert not answer.ended or answer.well or answer.failed
    assert_served(transport)


def test_a_goaway_of_the_client_lets_its_calls_end(transport: Transport, client: Peer) -> None:
    """It says that the client takes no streams of the server's, of which there are none."""
    stream_id = client.start()
    _, call = transport.calls.take()
    client.send(frame(FrameType.GOAWAY, 0, 0, bytes(8) + b"bye"))
    client.send(frame(FrameType.PING, 0, 0, b"goodbye!"))
    call.reply(b"answer")
    while client.take():
        if client.of(stream_id).ended:
            break
    assert client.closed or client.of(stream_id).well
    client.raw.close()
    assert_served(transport)


@pytest.mark.parametrize("separate", [False, True], ids=["in the header", "in empty data"])
def test_a_request_without_a_message_is_refused(transport: Transport, client: Peer, separate: bool) -> None:
    """A status that is not OK, for an end that came too early."""
    if separate:
        client.send(headers(1, HEADER), data(1, end=True))
    else:
        client.send(headers(1, HEADER, flags=END_HEADERS | END_STREAM))
    assert client.answer(1).failed
    assert_served(transport, client)


@pytest.mark.parametrize("size", [1, 4, 5, 11])
def test_half_a_message_is_refused(transport: Transport, client: Peer, size: int) -> None:
    """The stream ends within the prefix or within the message."""
    client.send(headers(1, HEADER), data(1, prefixed(b"message")[:size], end=True))
    assert client.answer(1).failed
    assert_served(transport, client)


def test_two_messages_are_none_or_one(transport: Transport, client: Peer) -> None:
    """A unary call has one: the stream is refused, or the first is taken; never the second, never both."""
    client.send(headers(1, HEADER), data(1, prefixed(b"first") + prefixed(b"second"), end=True))
    client.settle()
    if not client.of(1).ended:
        message, call = transport.calls.take()
        assert message == b"first"
        call.reply(b"answer")
        client.answer(1)
    assert_served(transport)


def test_what_follows_a_message_does_no_harm(transport: Transport, client: Peer) -> None:
    """Bytes that are no message, in a later frame, with the stream left open."""
    client.send(headers(1, HEADER), data(1, prefixed(b"first")), data(1, b"\xff" * 100))
    client.settle()
    if not client.of(1).ended:
        message, call = transport.calls.take()
        assert message == b"first"
        call.reply(b"answer")
        client.send(data(1, end=True))
        client.answer(1)
    client.send(rst_stream(1))
    while not transport.calls.none_has_come():
        transport.calls.take()[1].reply(b"")
    assert_served(transport)


def test_a_message_that_is_too_long_is_refused_by_its_prefix(transport: Transport, client: Peer) -> None:
    """None of it has to be sent for that, and nothing is set aside for it."""
    cases = {client.next_stream_id(): size for size in (100_001, 2**31, 2**32 - 1)}
    for stream_id, size in cases.items():
        client.send(headers(stream_id, HEADER), data(stream_id, b"\x00" + size.to_bytes(4) + b"beginning"))
    answers = [client.answer(stream_id) for stream_id in cases]
    assert all(answer.reset is not None or answer.status == RESOURCE_EXHAUSTED for answer in answers)
    assert_served(transport, client)


def test_a_message_that_is_too_long_and_sent_is_refused_all_the_same(transport: Transport, client: Peer) -> None:
    """The sender hears of it although it goes on sending; the status says why."""
    client.send(headers(1, HEADER))
    rest = prefixed(bytes(300_000))
    while rest and not client.of(1).ended:
        client.upload(1, rest[:16_384], end=len(rest) <= 16_384)
        rest = rest[16_384:]
    assert client.answer(1).status == RESOURCE_EXHAUSTED
    assert_served(transport, client)


def test_the_longest_message_is_taken(transport: Transport, client: Peer) -> None:
    """100,000 bytes, the limit itself."""
    stream_id = client.start(bytes(100_000))
    message, call = transport.calls.take()
    assert message == bytes(100_000)
    call.reply(b"answer")
    assert client.answer(stream_id).well


def test_a_compressed_message_without_an_encoding_is_refused(transport: Transport, client: Peer) -> None:
    """Nobody can read it."""
    client.send(headers(1, HEADER), data(1, prefixed(gzip.compress(b"x"), flag=1), end=True))
    assert client.answer(1).failed
    assert_served(transport, client)


@pytest.mark.parametrize("flag", [2, 254])
def test_a_flag_that_means_nothing_is_refused(transport: Transport, client: Peer, flag: int) -> None:
    """Before a message; grpc's core makes an empty message of it, which is then the engine's to refuse."""
    client.send(headers(1, HEADER), data(1, prefixed(b"message", flag=flag), end=True))
    if transport.name in CORE:
        message, call = transport.calls.take()
        assert message == b""
        call.fail(InvalidRequest("empty"))
    assert client.answer(1).failed
    assert_served(transport, client)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_message_is_read(transport: Transport, client: Peer, encoding: str) -> None:
    """In many frames; and one that is not compressed although an encoding was named."""
    packed = gzip.compress(b"message" * 1000) if encoding == "gzip" else zlib.compress(b"message" * 1000)
    for flag, body in ((1, packed), (0, b"message" * 1000)):
        stream_id = client.next_stream_id()
        client.send(headers(stream_id, block(request_fields(("grpc-encoding", encoding)))))
        said = prefixed(body, flag=flag)
        for at in range(0, len(said), 50):
            client.send(data(stream_id, said[at : at + 50], end=at + 50 >= len(said)))
        message, call = transport.calls.take()
        assert message == b"message" * 1000
        call.reply(b"answer")
        assert client.answer(stream_id).well


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(bytes(100_001)), id="too long when unpacked"),
        pytest.param(gzip.compress(bytes(50_000_000)), id="a bomb of 50 MB"),
        pytest.param(b"no gzip at all", id="garbage"),
        pytest.param(gzip.compress(b"message" * 100)[:-9], id="cut off"),
        pytest.param(gzip.compress(b"message") + gzip.compress(b"another"), id="two of them"),
    ],
)
def test_a_compressed_message_that_cannot_be_is_refused(transport: Transport, client: Peer, packed: bytes) -> None:
    """It reaches no intake."""
    client.send(
        headers(1, block(request_fields(("grpc-encoding", "gzip")))), data(1, prefixed(packed, flag=1)[:16_384])
    )
    for at in range(16_384, len(packed) + 5, 16_384):
        client.send(data(1, prefixed(packed, flag=1)[at : at + 16_384]))
    client.send(data(1, end=True))
    assert client.answer(1).failed
    assert_served(transport, client)


@pytest.mark.parametrize("fails", [False, True])
def test_who_is_answered_before_it_has_sent_all_hears_that_it_need_not(*, fails: bool) -> None:
    """Behind the trailers: to leave the stream half open would count against those it may have at a time."""
    with opened("lane") as running, Peer(running.address) as client:
        # The first answer of a connection has more to say, and so a way of its own.
        assert_served(running, client)
        stream_id = client.next_stream_id()
        client.send(headers(stream_id, HEADER), data(stream_id, prefixed(b"message")))
        _, call = running.calls.take()
        if fails:
            call.fail(InvalidRequest("not so"))
        else:
            call.reply(b"answer")
        assert client.answer(stream_id).failed is fails
        last = client.take()
        assert last is not None
        assert (last.kind, last.stream_id, int.from_bytes(last.payload)) == (FrameType.RST_STREAM, stream_id, 0)
