"""What only the fallback does: a thread for each call. The rest is in test_call_contract.py."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.server.rpc.conversations import Conversation, conversing
from tests.server.rpc.transports import BOUND_S, METHOD, opened, until

if TYPE_CHECKING:
    from sardonyx_server.engine.call import Call


def test_it_says_what_it_is() -> None:
    """So that the log and the engine know: there is no thread of the transport's to run models or hand answers to."""
    with opened("grpcio") as transport:
        assert transport.serving.name == "grpcio"
        assert transport.serving.thread is None
        assert transport.serving.open_calls == 0


def test_each_thread_reads_with_an_intake_of_its_own() -> None:
    """An intake is not thread-safe; one thread keeps the one it has."""
    threads: set[int] = set()
    lock = threading.Lock()

    def react(message: bytes, call: Call) -> None:
        with lock:
            threads.add(threading.get_ident())
        call.reply(message)

    with opened("grpcio", react=react) as transport:
        sent = [transport.send(b"%d" % k) for k in range(100)]
        assert [one.result() for one in sent] == [b"%d" % k for k in range(100)]
        assert threading.get_ident() not in threads
        assert transport.serving._of_thread.__dict__ == {}


def test_a_caller_that_has_gone_before_the_watch_counts_as_cancelled() -> None:
    """The grpcio server takes no callback for a call that is over."""
    with opened("grpcio") as transport:
        sent = transport.send()
        _, call = transport.calls.take()
        gone = threading.Event()
        context: grpc.ServicerContext = call._context  # type: ignore[attr-defined]  # a GrpcioCall
        assert context.add_callback(gone.set)
        sent.cancel()
        assert gone.wait(BOUND_S)
        call.watch()
        assert call.cancelled
        call.reply(b"")


def test_a_call_without_a_message_is_refused_by_grpcio() -> None:
    """In its own words, and before an intake sees it."""
    with opened("grpcio") as transport:
        with pytest.raises(grpc.RpcError) as caught:
            transport.channel.stream_unary(METHOD)(iter(()), timeout=BOUND_S)
        failure: Any = caught.value  # a grpc.Call too
        assert failure.code() is grpc.StatusCode.UNIMPLEMENTED


def test_more_streams_than_it_has_threads_for_are_refused() -> None:
    """With a way out; when one ends there is room again."""
    with opened("grpcio", max_streams=2, react=lambda message, call: call.reply(message)) as transport:
        first, second = Conversation(transport.channel), Conversation(transport.channel)
        until(lambda: transport.serving.open_calls == 2)
        with conversing(transport) as third:
            assert third.rest() == []
            assert third.code() is grpc.StatusCode.UNAVAILABLE
            assert third.call.details() == (
                "2 streams are open, the most this server keeps on grpcio's public API; end one, call ModelInfer for "
                "each request, or have the operator serve with --transport lane"
            )
        first.half_close()
        assert first.rest() == []
        until(lambda: transport.serving.open_calls == 1)
        with conversing(transport) as fourth:
            fourth.send(b"")
            assert fourth.ids(1) == [""]
        second.close()


def test_threads_of_streams_end_with_them() -> None:
    """Two for each, whichever way it ends."""
    with opened("grpcio", react=lambda message, call: call.reply(message)) as transport:
        for end in ("half_close", "close"):
            streams = [Conversation(transport.channel) for _ in range(10)]
            for stream in streams:
                stream.send(b"")
                assert stream.ids(1) == [""]
            assert stream_threads() == 20
            for stream in streams:
                getattr(stream, end)()
            until(lambda: not stream_threads())
            for stream in streams:
                stream.close()


def stream_threads() -> int:
    """How many threads streams hold."""
    return sum(thread.name.startswith("stream-") for thread in threading.enumerate())
