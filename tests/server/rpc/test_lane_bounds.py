"""What one caller of the lane cannot do to the others, to the server's memory, or to a stop."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_server.rpc.lane.lane import Lane, Limits
from tests.server.rpc.http2_peer import Peer
from tests.server.rpc.http2_wire import (
    MAX_WINDOW,
    PREFACE,
    START_WINDOW,
    Setting,
    block,
    data,
    frame,
    headers,
    ping,
    prefixed,
    request_fields,
    settings,
    window_update,
)
from tests.server.rpc.transports import BOUND_S, METHOD, STREAM_METHOD, Calls, opened, until

if TYPE_CHECKING:
    from sardonyx_server.engine.call import Call

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

NARROW = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 65_535})


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


def test_a_stop_does_not_cut_an_answer_off() -> None:
    """Its caller takes it bit by bit: the last of it, after the server has stopped taking calls."""
    server = grpc.server(ThreadPoolExecutor(1))
    intake: Any = Calls(echo)
    lane = Lane(
        server,
        methods=(METHOD, STREAM_METHOD),
        intake=intake,
        authorise=None,
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
