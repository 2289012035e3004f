"""Streams of requests, as raw HTTP/2: messages and frames need not match, windows hold each side back, ends differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from sardonyx_server.rpc.stream import WINDOW_REQUESTS
from sardonyx_wire.messages import ModelStreamInferResponse
from tests.server.rpc.conversations import answer, request
from tests.server.rpc.http2.peer import CORE, Peer
from tests.server.rpc.http2.wire import (
    END_HEADERS,
    END_STREAM,
    MAX_WINDOW,
    PREFACE,
    START_WINDOW,
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
from tests.server.rpc.transports import STREAM_METHOD, TRANSPORTS, Transport, opened, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

HEADER: Final = block(request_fields(path=STREAM_METHOD))
OPTIONS: Final = (("grpc.max_receive_message_length", 4_000_000),)
RESOURCE_EXHAUSTED: Final = 8


@pytest.fixture(scope="module", params=TRANSPORTS)
def answering(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Each transport, which answers each request with its id."""
    with opened(request.param, options=OPTIONS, react=lambda message, call: call.reply(answer(message))) as transport:
        yield transport


@pytest.fixture
def caller(answering: Transport) -> Iterator[Peer]:
    """A connection to it, with a stream 1 that is open; no call is open at the end."""
    with Peer(answering.address) as connection:
        connection.send(headers(1, HEADER))
        yield connection
    until(lambda: not answering.serving.open_calls)


@pytest.fixture(params=TRANSPORTS)
def waiting(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Each transport, with requests that wait for the test."""
    with opened(request.param, options=OPTIONS) as transport:
        yield transport


def ids(peer: Peer, stream_id: int = 1) -> list[str]:
    """Of the answers that have come."""
    return [ModelStreamInferResponse.FromString(one).infer_response.id for one in peer.of(stream_id).messages]


def numbers(count: int) -> list[str]:
    """Ids of so many requests."""
    return [str(number) for number in range(count)]


def said(count: int, payload: bytes = b"") -> bytes:
    """So many requests."""
    return b"".join(prefixed(request(one, payload)) for one in numbers(count))


def test_messages_may_share_a_frame(caller: Peer) -> None:
    """All of them in one, the end as well."""
    caller.send(data(1, said(50), end=True))
    assert caller.answer(1).well
    assert ids(caller) == numbers(50)


@pytest.mark.parametrize("size", [1, 3, 5, 6, 7, 100])
def test_messages_may_be_cut_anywhere(caller: Peer, size: int) -> None:
    """Frames of so many bytes; each holds the end of a message, the beginning of the next, or neither."""
    whole = said(20)
    for at in range(0, len(whole), size):
        caller.send(data(1, whole[at : at + size]))
    caller.send(data(1, end=True))
    assert caller.answer(1).well
    assert ids(caller) == numbers(20)


@pytest.mark.parametrize("payload_bytes", [1000, 65_000, 66_000, 300_000])
@pytest.mark.parametrize("size", [16_384, 9_999])
def test_large_and_small_messages_may_alternate(caller: Peer, payload_bytes: int, size: int) -> None:
    """In frames that care for neither."""
    caller.settle()  # From then on the server's windows are known.
    whole = b"".join(
        prefixed(request(one, bytes(payload_bytes) if number % 2 else b"")) for number, one in enumerate(numbers(8))
    )
    for at in range(0, len(whole), size):
        caller.upload(1, whole[at : at + size], end=at + size >= len(whole))
    assert caller.answer(1).well
    assert ids(caller) == numbers(8)


def test_a_stream_without_a_request_ends_well(caller: Peer) -> None:
    """By its header, by empty data, by trailers."""
    caller.send(headers(3, HEADER, flags=END_HEADERS | END_STREAM), data(1, end=True), headers(5, HEADER))
    caller.send(headers(5, block([("x-trailer", "1")]), flags=END_HEADERS | END_STREAM))
    assert [caller.answer(one).well for one in (1, 3)] == [True, True]
    caller.answer(5)
    assert not caller.of(1).data


@pytest.mark.parametrize("payload_bytes", [0, 1000, 100_000])
@pytest.mark.parametrize("lacking", [1, 900])
def test_half_a_message_at_the_end_is_the_end(caller: Peer, payload_bytes: int, lacking: int) -> None:
    """Nobody waits for its rest. The stream may fail; grpc's core answers what came before, and says no more of it."""
    part = prefixed(request("half", bytes(payload_bytes)))
    part = part[: max(3, len(part) - lacking)]
    caller.upload(1, said(1), end=False)
    caller.upload(1, part)
    assert caller.answer(1).failed or ids(caller) == numbers(1)


def test_a_message_that_is_too_long_ends_the_stream(caller: Peer) -> None:
    """By its prefix."""
    caller.send(data(1, b"\x00" + (4_000_001).to_bytes(4)))
    answered = caller.answer(1)
    assert answered.reset is not None or answered.status == RESOURCE_EXHAUSTED


def test_a_compressed_message_without_an_encoding_ends_the_stream(caller: Peer) -> None:
    """Nobody can read it."""
    caller.send(data(1, prefixed(b"packed", flag=1)))
    assert caller.answer(1).failed


def test_room_is_given_back_as_long_as_a_stream_lasts(caller: Peer) -> None:
    """10 MB in messages of 10 kB, and 10 MB in messages of 2 MB."""
    caller.settle()
    small, large = prefixed(request("small", bytes(10_000))), prefixed(request("large", bytes(2_000_000)))
    for _ in range(1000):
        caller.upload(1, small, end=False)
    for _ in range(5):
        caller.upload(1, large, end=False)
    caller.send(data(1, end=True))
    assert caller.answer(1).well
    assert ids(caller) == ["small"] * 1000 + ["large"] * 5


def test_padding_is_given_room_as_long_as_a_stream_lasts(answering: Transport, caller: Peer) -> None:
    """5 MB of it. grpc's core takes no padding."""
    if answering.name in CORE:
        caller.send(data(1, end=True))
        return
    for _ in range(20_000):
        while min(caller.window_bytes, caller.of(1).window_bytes) < 256:
            assert caller.take()
        caller.window_bytes -= 256
        caller.of(1).window_bytes -= 256
        caller.send(data(1, padding=255))
    caller.upload(1, said(3))
    assert caller.answer(1).well
    assert ids(caller) == numbers(3)


def test_answers_keep_to_the_windows(answering: Transport) -> None:
    """100 bytes at first, for answers of about 30: they stop, and come in order when there is room."""
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 100}) + window_update(0, MAX_WINDOW - START_WINDOW)
    with Peer(answering.address, greeting) as peer:
        peer.send(headers(1, HEADER))
        peer.upload(1, said(100))
        for given in range(100, 1000, 100):
            peer.read_until(lambda given=given: len(peer.of(1).data) >= given)  # type: ignore[misc]
            peer.settle()
            assert len(peer.of(1).data) == given
            peer.send(window_update(1, 100))
        peer.send(settings({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW - 2000}))
        assert peer.answer(1).well
        assert ids(peer) == numbers(100)


def test_who_gets_no_answers_is_not_read_either(waiting: Transport) -> None:
    """A stream may have so many requests in flight; what comes then waits, and is answered in its turn."""
    with Peer(waiting.address) as peer:
        peer.send(headers(1, HEADER))
        peer.upload(1, said(3 * WINDOW_REQUESTS))
        taken = [waiting.calls.take() for _ in range(WINDOW_REQUESTS)]
        peer.settle()
        assert waiting.calls.none_has_come()
        for number in range(3 * WINDOW_REQUESTS):
            message, call = taken[number]
            call.reply(answer(message))
            if len(taken) < 3 * WINDOW_REQUESTS:
                taken.append(waiting.calls.take())
        assert peer.answer(1).well
        assert ids(peer) == numbers(3 * WINDOW_REQUESTS)


@pytest.mark.parametrize("part", [b"", said(1)[:3], prefixed(request("x", bytes(100_000)))[:60_000]])
def test_a_reset_ends_a_stream_at_any_moment(answering: Transport, caller: Peer, part: bytes) -> None:
    """Between two messages, within a prefix, within a large message; the connection goes on."""
    caller.upload(1, said(2) + part, end=False)
    caller.read_until(lambda: len(ids(caller)) == 2)
    caller.send(rst_stream(1), headers(3, HEADER))
    caller.upload(3, said(2))
    assert caller.answer(3).well
    assert ids(caller, 3) == numbers(2)


def test_a_reset_cancels_what_is_in_flight(waiting: Transport) -> None:
    """All requests of the stream, and none of another stream's."""
    with Peer(waiting.address) as peer:
        peer.send(headers(1, HEADER), headers(3, HEADER), data(1, said(3)))
        first = [waiting.calls.take()[1] for _ in range(3)]
        peer.send(data(3, said(1), end=True))
        message, other = waiting.calls.take()
        peer.send(rst_stream(1))
        until(lambda: all(call.cancelled for call in first))
        assert not other.cancelled
        other.reply(answer(message))
        for call in first:
            call.reply(b"too late")
        assert peer.answer(3).well
        assert not peer.of(1).data


def test_streams_and_calls_share_a_connection_byte_by_byte(caller: Peer) -> None:
    """Three streams, a byte of each in turn."""
    caller.send(headers(3, HEADER), headers(5, HEADER))
    for byte in said(5):
        caller.send(*(data(one, bytes((byte,))) for one in (1, 3, 5)))
    caller.send(*(data(one, end=True) for one in (5, 1, 3)))
    for one in (1, 3, 5):
        assert caller.answer(one).well
        assert ids(caller, one) == numbers(5)
