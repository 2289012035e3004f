"""What one caller of the lane cannot do to the others, to the server's memory, or to a stop."""

from __future__ import annotations

import gzip
import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_server.rpc.lane.lane import Lane
from sardonyx_server.rpc.lane.limits import Limits
from sardonyx_server.rpc.lane.proxy.shutdown_status import SHUTDOWN_STATUS
from tests.server.rpc.conversations import answer, request
from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.http2.wire import (
    ADDED,
    END_HEADERS,
    END_STREAM,
    MAX_WINDOW,
    PREFACE,
    START_WINDOW,
    WIDE,
    FrameType,
    Setting,
    block,
    data,
    frame,
    headers,
    integer,
    literal,
    ping,
    prefixed,
    request_fields,
    rst_stream,
    settings,
    window_update,
)
from tests.server.rpc.transports import BOUND_S, METHOD, STREAM_METHOD, THREADS, Calls, opened, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sardonyx_server.engine.call import Call

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

NARROW = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 65_535})
# Room for any answer on each stream, and for little on all.
NARROW_IN_ALL = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW})
MIB = 1 << 20
# Of a connection whose caller does not read, with what the server reads ahead for a stream, and what is on its way.
KEPT_MIB = 24
POUR = "/test.Relayed/Pour"
UNAVAILABLE = 14
REFUSED_STREAM = 7
PROTOCOL_ERROR = 1
INVALID_ARGUMENT = 3


def echo(message: bytes, call: Call) -> None:
    """Answer with the same."""
    call.reply(bytes(message))


def test_compressed_messages_of_a_stream_are_answered_once_each() -> None:
    """Also 500 that come in one piece, and are answered as they are taken in."""
    packed = prefixed(gzip.compress(b"\x0a\x01m"), flag=1)
    with opened("lane", react=echo) as transport, Peer(transport.address) as peer:
        fields = request_fields(("grpc-encoding", "gzip"), path=STREAM_METHOD)
        peer.send(headers(1, block(fields)), data(1, packed * 500, end=True))
        assert peer.answer(1).well
        assert len(peer.of(1).messages) == 500
        until(lambda: not transport.serving.open_calls)


def pouring(count: int, size: int) -> tuple[grpc.GenericRpcHandler, list[int]]:
    """A method of the grpcio server that answers with so many messages, and what it has sent so far."""
    sent: list[int] = []

    def pour(_request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(count):
            sent.append(number)
            yield bytes(size)

    _, service, name = POUR.split("/")
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(pour)
    return grpc.method_handlers_generic_handler(service, {name: handler}), sent


def stands_still(sent: list[int], bystander: Peer) -> bool:
    """Whether nothing more is sent, while another connection is served 100 times."""
    before = len(sent)
    return [bystander.ask() for _ in range(100)] == [b"ask"] * 100 and len(sent) == before


def test_who_reads_nothing_has_no_more_of_its_stream_answered() -> None:
    """100 requests whose answers are 100 MiB, for all of which its windows have room: its socket has not."""
    sent: list[int] = []

    def react(message: bytes, call: Call) -> None:
        large = len(message) > len(b"ask")
        sent.extend([0] * large)
        call.reply(answer(message, bytes(MIB)) if large else message)

    with (
        opened("lane", react=react) as transport,
        Peer(transport.address) as bystander,
        Peer(transport.address) as peer,
    ):
        peer.send(headers(1, block(request_fields(path=STREAM_METHOD))), data(1, prefixed(request("first"))))
        # From it the server knows how large they are.
        peer.read_until(lambda: len(peer.of(1).data) > MIB)
        peer.send(data(1, b"".join(prefixed(request(f"{k:04}")) for k in range(99)), end=True))
        until(lambda: bool(sent) and stands_still(sent, bystander))
        assert len(sent) <= KEPT_MIB
        assert peer.answer(1).well
        assert len(peer.of(1).messages) == 100


def test_who_reads_nothing_gets_no_answers_beyond_a_bound_in_all() -> None:
    """Twenty connections ask for 480 MB of answers that they do not take; others are served, and they again later.

    All of it comes while the lane is at work, so that one turn answers it.
    """
    large, limit_bytes, count = bytes(600_000), 32 * MIB, 40
    begun, go_on = threading.Event(), threading.Event()

    def react(message: bytes, call: Call) -> None:
        if message == b"first":
            begun.set()
            assert go_on.wait(BOUND_S)
        call.reply(large if message == b"large" else message)

    with opened("lane", react=react) as transport, ExitStack() as stack:
        first = transport.send(b"first")
        assert begun.wait(BOUND_S)
        peers = [stack.enter_context(Peer(transport.address)) for _ in range(20)]
        ids = range(1, 2 * count, 2)
        for peer in peers:
            # What the systems between the two take is not the server's.
            peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            whole = (headers(one, block(request_fields())) + data(one, prefixed(b"large"), end=True) for one in ids)
            peer.send(*whole)
        go_on.set()
        assert first.result() == b"first"
        loop, held = transport.serving._loop, transport.serving._loop.send_budget
        until(lambda: loop.calls.begun == 1 + len(peers) * count and not transport.serving.open_calls)
        assert limit_bytes < held.used_bytes < 2 * limit_bytes + len(peers) * (MIB + len(large))
        with Peer(transport.address) as bystander:
            assert bystander.ask(b"large") == large
        answers = [peer.answer(one) for peer in peers for one in ids]
        refused = [one for one in answers if not one.well]
        assert {one.status for one in refused} == {UNAVAILABLE}
        assert {one.trailers["grpc-message"].partition(",")[0] for one in refused} == {
            f"{limit_bytes} bytes of answers wait to be taken by the callers of this server"
        }
        assert len(refused) > len(answers) // 2
        until(lambda: not held.used_bytes)
        assert all(peer.ask(b"large") == large for peer in peers)


@pytest.mark.parametrize("end", ["gone", "broken", "reset"])
def test_what_was_held_for_a_caller_counts_no_more_once_it_is_gone(end: str) -> None:
    """A call's, a stream's and relayed ones, behind windows and the socket: else others would be refused for them."""
    large = bytes(4 * MIB)

    def react(message: bytes, call: Call) -> None:
        call.reply(large if message == b"large" else answer(message, large))

    with opened("lane", react=react, handlers=(pouring(8, MIB)[0],)) as transport:
        held = transport.serving._loop.send_budget
        # One holds all behind its windows, the other lets it come as far as its socket, and takes nothing from there.
        for greeting, most_taken in ((NARROW, 0), (WIDE, len(large))):
            with Peer(transport.address, greeting) as peer:
                peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
                peer.send(
                    headers(1, block(request_fields())) + data(1, prefixed(b"large"), end=True),
                    headers(3, block(request_fields(path=STREAM_METHOD))) + data(3, prefixed(request("one"))),
                    headers(5, block(request_fields(path=POUR))) + data(5, prefixed(b"much"), end=True),
                )
                until(lambda: held.used_bytes > 2 * len(large) - most_taken)  # noqa: B023
                # Of the other nothing more is read.
                if greeting is NARROW and end == "broken":
                    peer.send(frame(FrameType.SETTINGS, 0, 1))
                elif greeting is NARROW and end == "reset":
                    peer.send(*(rst_stream(stream_id) for stream_id in (1, 3, 5)))
                until(lambda: greeting is WIDE or end == "gone" or not held.used_bytes)  # noqa: B023
            until(lambda: not held.used_bytes)


def test_who_reads_nothing_has_no_more_relayed() -> None:
    """Nor has the grpcio server more asked of it, although the windows of the caller have room."""
    handler, sent = pouring(100, MIB)
    with (
        opened("lane", react=echo, handlers=(handler,)) as transport,
        Peer(transport.address) as bystander,
        Peer(transport.address) as peer,
    ):
        stream_id = peer.start(path=POUR)
        until(lambda: bool(sent) and stands_still(sent, bystander))
        assert len(sent) <= KEPT_MIB
        assert peer.answer(stream_id).well
        assert len(peer.of(stream_id).messages) == 100


def test_a_stop_does_not_cut_a_relayed_answer_off() -> None:
    """The grpcio server has sent all of it; the rest waits for the windows of its caller."""
    handler, _ = pouring(1, 300_000)
    with (
        opened("lane", react=echo, handlers=(handler,)) as transport,
        Peer(transport.address, NARROW_IN_ALL) as peer,
        Peer(transport.address) as bystander,
    ):
        stream_id = peer.start(path=POUR)
        peer.read_until(lambda: len(peer.of(stream_id).data) >= START_WINDOW)
        bystander.settle()
        assert transport.serving.stop_server(BOUND_S).wait(BOUND_S)
        peer.read_until(lambda: peer.goaway is not None)
        peer.send(window_update(0, MAX_WINDOW - START_WINDOW))
        assert peer.answer(stream_id).well
        assert peer.of(stream_id).messages == [bytes(300_000)]


def test_who_breaks_the_rules_hears_why_on_each_stream() -> None:
    """Older clients look at nothing else. A call, a stream, a relayed one; and one in the midst of an answer."""
    handler, _ = pouring(2, 100_000)
    with (
        opened("lane", handlers=(handler,)) as transport,
        Peer(transport.address, NARROW_IN_ALL) as peer,
    ):
        midst = peer.start(path=POUR)
        peer.read_until(lambda: len(peer.of(midst).data) >= START_WINDOW)
        others = [peer.start(), peer.start(path=STREAM_METHOD), peer.next_stream_id()]
        peer.send(headers(others[2], block(request_fields(path=POUR))))
        calls = [transport.calls.take()[1] for _ in range(2)]
        peer.send(frame(FrameType.SETTINGS, 0, 1))
        while peer.take():
            pass
        for one in others:
            assert peer.of(one).status == UNAVAILABLE
            text = "the server ended the connection: stream 1 has a frame of the connection"
            assert peer.of(one).trailers["grpc-message"] == text
        assert peer.of(midst).reset is not None
        assert peer.goaway is not None
        for call in calls:
            assert call.cancelled
            call.reply(b"too late")


def test_a_stop_does_not_cut_an_answer_off() -> None:
    """Its caller takes it bit by bit: the last of it, after the server has stopped taking calls."""
    server = grpc.server(ThreadPoolExecutor(1))
    intake: Any = Calls(echo)
    lane = Lane(
        server,
        methods=(METHOD, STREAM_METHOD),
        intake=intake,
        access_control=None,
        limits=Limits(max_message_bytes=1 << 20, unfinished_bytes=1 << 20, min_ping_interval_s=0.0),
        on_lost=print,
    )
    address = f"127.0.0.1:{lane.listen('127.0.0.1', 0)}"
    server.start()
    lane.start()
    with Peer(address, NARROW) as peer:
        peer.send(headers(1, block(request_fields())))
        peer.settle()
        peer.upload(1, prefixed(bytes(300_000)))
        peer.read_until(lambda: len(peer.of(1).data) >= START_WINDOW)
        assert lane.stop_server(BOUND_S).wait(BOUND_S)
        stopping = threading.Thread(target=lane.stop, args=(BOUND_S,))
        stopping.start()
        peer.send(window_update(0, MAX_WINDOW - START_WINDOW), window_update(1, 300_000))
        assert peer.answer(1).well
        assert peer.of(1).messages == [bytes(300_000)]
        stopping.join(BOUND_S)
        assert not stopping.is_alive()


def test_who_has_no_answer_when_the_time_to_stop_is_up_hears_why() -> None:
    """A call, a stream, and one whose message is still to come; one in the midst of an answer is reset."""
    with opened("lane") as transport, Peer(transport.address, NARROW_IN_ALL) as peer:
        midst = peer.start()
        transport.calls.take()[1].reply(bytes(300_000))
        peer.read_until(lambda: len(peer.of(midst).data) >= START_WINDOW)
        others = [peer.start(), peer.start(path=STREAM_METHOD), peer.next_stream_id()]
        peer.send(headers(others[2], block(request_fields())))
        calls = [transport.calls.take()[1] for _ in range(2)]
        peer.settle()
        transport.serving.stop_server(0)
        while peer.take():
            pass
        for one in others:
            assert peer.of(one).status == UNAVAILABLE
            assert peer.of(one).trailers["grpc-message"] == SHUTDOWN_STATUS.message
        assert peer.of(midst).reset is not None
        for call in calls:
            assert call.cancelled
            call.reply(b"too late")


def test_a_stop_does_not_wait_for_requests_that_come_in_half() -> None:
    """Neither for those of the lane nor for those of grpcio: they hear that the server stops, and nothing has run."""
    half = prefixed(b"a message")[:-1]
    with (
        opened("lane", react=echo, handlers=(pouring(1, 10)[0],)) as transport,
        Peer(transport.address) as peer,
    ):
        peer.send(
            headers(1, block(request_fields())),
            headers(3, block(request_fields())) + data(3, half),
            headers(5, block(request_fields(path=POUR))) + data(5, half),
        )
        until(lambda: transport.serving.open_calls == 2)
        assert peer.answer(peer.start(path=POUR)).well
        transport.serving.drain()
        stopped = transport.serving.stop_server(10 * BOUND_S)
        answers = [peer.answer(stream_id) for stream_id in (1, 3, 5)]
        assert {one.status for one in answers} == {UNAVAILABLE}
        assert {one.trailers["grpc-message"].partition(",")[0] for one in answers} == {"the server is stopping"}
        assert stopped.wait(BOUND_S)


def test_who_sends_more_than_a_streams_window_is_cut_off() -> None:
    """128 requests wait for their model; what comes then must keep to the window of 1 MiB."""
    with opened("lane") as transport, Peer(transport.address) as peer:
        peer.send(headers(1, block(request_fields(path=STREAM_METHOD))), data(1, prefixed(b"") * 128))
        waiting = [transport.calls.take()[1] for _ in range(128)]
        for _ in range(200):
            peer.send(data(1, bytes(16_384)))
        while peer.take():
            pass
        assert peer.closed
        for call in waiting:
            call.reply(b"")


def test_a_caller_that_never_pauses_keeps_nobody_waiting() -> None:
    """Frames of a kind that nobody knows, without end; others are answered."""
    over = threading.Event()
    with opened("lane", react=echo) as transport, Peer(transport.address) as noisy, Peer(transport.address) as other:
        noisy.settle()
        noise = frame(0x42, 0, 0) * 5000

        def make_noise() -> None:
            while not over.is_set():
                noisy.send(noise)

        thread = threading.Thread(target=make_noise)
        thread.start()
        try:
            assert [other.ask(b"%d" % k) for k in range(20)] == [b"%d" % k for k in range(20)]
        finally:
            over.set()
            thread.join(BOUND_S)


def test_who_pings_while_it_takes_an_answer_is_not_cut_off() -> None:
    """As grpc-go does, to measure how much is under way."""
    with (
        opened("lane", react=echo, min_ping_interval_s=3600.0) as transport,
        Peer(transport.address, NARROW) as peer,
    ):
        peer.send(headers(1, block(request_fields())))
        peer.settle()
        peer.upload(1, prefixed(bytes(600_000)))
        while not peer.of(1).ended:
            peer.send(ping(), window_update(0, 20_000), window_update(1, 20_000))
            assert peer.take()
        assert peer.of(1).well


def test_headers_that_grow_on_their_way_to_the_grpcio_server_are_refused_beyond_a_bound() -> None:
    """A field of 4 kB in the header table is said again with one byte: 100 kB of requests were 60 MB of headers."""
    unserved = block(request_fields(path="/test.Service/Unknown"))
    # 62 is the entry that was added last (RFC 7541, section 2.3.3).
    again = unserved + integer(62, first=0x80, bits=7) * 15
    with opened("lane", react=echo) as transport, Peer(transport.address) as peer:
        peer.send(headers(1, unserved + literal("x-long", "x" * 3900, ADDED), flags=END_HEADERS | END_STREAM))
        assert peer.answer(1).failed
        ids = range(3, 2003, 2)
        peer.send(*(headers(stream_id, again, flags=END_HEADERS | END_STREAM) for stream_id in ids))
        answers = [peer.answer(stream_id) for stream_id in ids]
        assert all(answer.failed for answer in answers)
        assert REFUSED_STREAM in {answer.reset for answer in answers}
        # Those that were not refused went on to it, and it has words of its own for such a header.
        assert any(answer.reset != REFUSED_STREAM for answer in answers)
        assert peer.ask(b"well") == b"well"


def test_who_connects_and_says_nothing_has_a_limited_time() -> None:
    """Else whoever scans ports would keep a descriptor of the server's for ever."""
    with opened("lane") as transport, Peer(transport.address, PREFACE[:10]) as silent:
        loop = transport.serving._loop
        until(lambda: any(each.deadline_s < math.inf for each in list(loop.transports.by_fd.values())))
        (connected,) = loop.transports.by_fd.values()
        assert 0 < connected.deadline_s - time.monotonic() <= 120
        # As the lane does when the time has come.
        loop.call_soon(connected.expire)
        while silent.take():
            pass
        assert silent.closed


@pytest.mark.parametrize(
    "damage",
    [
        frame(FrameType.PING, 0, 1, bytes(8)),
        frame(FrameType.SETTINGS, 0, 1),
        window_update(0, 0),
    ],
    ids=["ping-of-a-stream", "settings-of-a-stream", "window-by-nothing"],
)
def test_a_frame_that_may_not_be_there_is_an_error_of_the_protocol(damage: bytes) -> None:
    """And none of its size, or of a window: who looks for the fault in a client goes by the code (RFC 9113, 6)."""
    with opened("lane") as transport, Peer(transport.address) as peer:
        peer.send(headers(1, block(request_fields())), damage)
        while peer.take():
            pass
        assert peer.goaway == PROTOCOL_ERROR


def test_relayed_calls_whose_messages_do_not_come_are_ended_on_both_sides() -> None:
    """Each had a thread of the grpcio server, and these are all it has."""
    with (
        opened("lane", react=echo, handlers=(pouring(1, 10)[0],)) as transport,
        Peer(transport.address) as stuck,
        Peer(transport.address) as other,
    ):
        ids = range(1, 2 * THREADS, 2)
        stuck.send(*(headers(stream_id, block(request_fields(path=POUR))) for stream_id in ids))
        stuck.settle()
        loop = transport.serving._loop
        streams = [stream for connection in loop._connections() for stream in connection._streams.values()]
        assert len(streams) == THREADS
        for stream in streams:
            stream.deadline_s = 0.0
            loop.call_soon(stream.expire)
        assert {stuck.answer(stream_id).status for stream_id in ids} == {INVALID_ARGUMENT}
        assert other.answer(other.start(path=POUR)).well
