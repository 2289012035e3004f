"""What only the lane does: many events in one go, and its own life. The rest is in test_call_contract.py."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_server.rpc.lane import Lane
from tests.server.rpc.transports import BOUND_S, METHOD, STREAM_METHOD, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.engine.call import Call


class InlineIntake:
    """Keeps what it is given until the lane says that nothing more is there; notes each dispatch.

    Args:
        on_first: Called within the first dispatch.
        joins: Whether requests join, so that it pays to take in more of them.
    """

    def __init__(self, on_first: Callable[[], None] = lambda: None, *, joins: bool = True) -> None:
        self._on_first = on_first
        self._joins = joins
        self._waiting: list[tuple[bytes, Call]] = []
        self.batches: list[int] = []

    def accept(self, message: bytes, call: Call) -> bool:
        """Keep."""
        self._waiting.append((message, call))
        return self._joins

    def run_waiting(self) -> None:
        """Answer all that waits."""
        if not self._waiting:
            return
        self.batches.append(len(self._waiting))
        if len(self.batches) == 1:
            self._on_first()
        for message, call in self._waiting:
            call.reply(message)
        self._waiting.clear()


def serving(intake: Any) -> tuple[grpc.Server, Lane, str]:
    """A server with a lane, started."""
    server = grpc.server(ThreadPoolExecutor(1))
    lost: list[Exception] = []
    lane = Lane(
        server,
        method=METHOD,
        stream_method=STREAM_METHOD,
        intake=intake,
        authorise=None,
        on_lost=lost.append,
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    lane.start()
    return server, lane, f"127.0.0.1:{port}"


def test_what_has_come_together_is_dispatched_together() -> None:
    """Drain before dispatch: a burst that is in the queue already must not be cut into batches of one."""
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(BOUND_S)

    intake = InlineIntake(hold)
    server, lane, address = serving(intake)
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(METHOD)
        first = call.future(b"first", timeout=BOUND_S)
        assert begun.wait(BOUND_S)
        # The lane's thread is held; core goes on reading the socket, and a call on another method proves that it has.
        burst = [call.future(bytes((k,)), timeout=BOUND_S) for k in range(40)]
        other: Any = channel.unary_unary("/test.Service/Other")
        with pytest.raises(grpc.RpcError):
            other(b"", timeout=BOUND_S)
        go_on.set()
        assert [one.result() for one in burst] == [bytes((k,)) for k in range(40)]
        assert first.result() == b"first"
    server.stop(None).wait()
    lane.stop()
    assert sum(intake.batches) == 41
    assert len(intake.batches) < 10


def test_a_failure_of_the_loop_itself_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """An intake that raises breaks its contract: the process must end rather than stand still."""

    class Broken:
        def accept(self, message: bytes, call: Call) -> bool:
            raise RuntimeError("broken")

        def run_waiting(self) -> None:
            pass

    lost: list[Exception] = []
    told = threading.Event()

    def lose(error: Exception) -> None:
        lost.append(error)
        told.set()

    server = grpc.server(ThreadPoolExecutor(1))
    intake: Any = Broken()
    lane = Lane(
        server,
        method=METHOD,
        stream_method=STREAM_METHOD,
        intake=intake,
        authorise=None,
        on_lost=lose,
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    lane.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(METHOD)
        sent = call.future(b"", timeout=BOUND_S)
        assert told.wait(BOUND_S)
        sent.cancel()
    assert [str(error) for error in lost] == ["broken"]
    assert "the lane's loop failed" in caplog.text
    server.stop(0)


def test_more_calls_than_are_posted_find_their_way() -> None:
    """Posted calls are renewed as they are used."""
    with opened("lane", react=lambda message, call: call.reply(message)) as transport:
        sent = [transport.send(b"%d" % k) for k in range(500)]
        assert [one.result() for one in sent] == [b"%d" % k for k in range(500)]


def test_requests_that_never_join_are_dispatched_one_by_one() -> None:
    """To take in more of them first would only make the first one wait."""
    intake = InlineIntake(joins=False)
    server, lane, address = serving(intake)
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(METHOD)
        sent = [call.future(bytes((k,)), timeout=BOUND_S) for k in range(40)]
        assert [one.result() for one in sent] == [bytes((k,)) for k in range(40)]
    server.stop(None).wait()
    lane.stop()
    assert intake.batches == [1] * 40


def test_a_caller_that_never_sends_its_message_keeps_nobody_waiting() -> None:
    """Its message is still on its way when others have come."""
    intake = InlineIntake()
    server, lane, address = serving(intake)
    with grpc.insecure_channel(address) as slow, grpc.insecure_channel(address) as quick:
        over = threading.Event()

        def never() -> Iterator[bytes]:
            over.wait(BOUND_S)
            yield b"late"

        one_way: Any = slow.stream_unary(METHOD)
        opened_only = one_way.future(never(), timeout=BOUND_S)
        call: Any = quick.unary_unary(METHOD)
        assert [call(bytes((k,)), timeout=BOUND_S) for k in range(5)] == [bytes((k,)) for k in range(5)]
        over.set()
        assert opened_only.result() == b"late"
    server.stop(None).wait()
    lane.stop()


def test_tasks_run_on_the_lanes_thread_after_an_answer() -> None:
    """A runner hands over all but one of its answers."""
    with opened("lane") as transport:
        lane: Lane = transport.serving
        ran: list[str] = []
        sent = transport.send()
        _, call = transport.calls.take()
        lane.later(lambda: ran.append(threading.current_thread().name))
        call.reply(b"")
        sent.result()
        assert lane.wait_idle(BOUND_S)
        # One more call: the event that ended the first one has been dealt with entirely.
        again = transport.send()
        transport.calls.take()[1].reply(b"")
        again.result()
        assert ran == ["lane"]
