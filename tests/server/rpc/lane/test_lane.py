"""What only the lane does: many events in one go, and its own life. The rest is in ../test_call_contract.py."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_server.rpc.lane.lane import Lane
from sardonyx_server.rpc.lane.limits import Limits
from tests.server.rpc.conversations import Conversation, conversing
from tests.server.rpc.transports import BOUND_S, METHOD, STREAM_METHOD, Transport, opened, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.engine.call import Call


LIMITS = Limits(max_message_bytes=1 << 20, unfinished_bytes=1 << 20, min_ping_interval_s=0.0)


class InlineIntake:
    """Keeps what it is given until the lane says that nothing more is there; notes each dispatch.

    Args:
        on_first: Called within the first dispatch.
    """

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        self._on_first = on_first
        self._waiting: list[tuple[bytes, Call]] = []
        self.batches: list[int] = []
        self.steps: list[int] = []

    def accept(self, message: bytes, call: Call, received_s: float) -> None:
        """Keep."""
        self._waiting.append((message, call))

    def reserve(self, beginning: memoryview, call: Call, message_bytes: int) -> None:
        """Refuse nothing."""

    def wake_early(self) -> None:
        """Note how much there was so far."""
        self.steps.append(len(self._waiting))

    def wake(self) -> None:
        """Nobody sleeps."""

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


def serving(intake: Any, on_lost: Callable[[Exception], None] = print) -> tuple[Lane, str]:
    """A server with a lane, started."""
    server = grpc.server(ThreadPoolExecutor(1))
    lane = Lane(
        server,
        methods=(METHOD, STREAM_METHOD),
        intake=intake,
        access_control=None,
        limits=LIMITS,
        on_lost=on_lost,
    )
    port = lane.listen("127.0.0.1", 0)
    server.start()
    lane.start()
    return lane, f"127.0.0.1:{port}"


def test_what_has_come_together_is_dispatched_together() -> None:
    """Drain before dispatch: a burst that is in the queue already must not be cut into batches of one."""
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(BOUND_S)

    intake = InlineIntake(hold)
    lane, address = serving(intake)
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(METHOD)
        first = call.future(b"first", timeout=BOUND_S)
        assert begun.wait(BOUND_S)
        # The lane's thread is held. What a caller starts on a connection that is up is in the socket at once.
        burst = [call.future(bytes((k,)), timeout=BOUND_S) for k in range(40)]
        go_on.set()
        assert [one.result() for one in burst] == [bytes((k,)) for k in range(40)]
        assert first.result() == b"first"
    lane.stop_server(None).wait()
    lane.stop()
    assert sum(intake.batches) == 41
    assert len(intake.batches) < 10
    # In between, runners may begin with the first of them.
    assert intake.steps


def test_a_failure_of_the_loop_itself_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """An intake that raises breaks its contract: the process must end rather than stand still."""

    class Broken:
        def accept(self, message: bytes, call: Call, received_s: float) -> None:
            raise RuntimeError("broken")

        def wake(self) -> None:
            pass

        def reserve(self, beginning: memoryview, call: Call, message_bytes: int) -> None:
            pass

        def run_waiting(self) -> None:
            pass

    lost: list[Exception] = []
    told = threading.Event()

    def lose(error: Exception) -> None:
        lost.append(error)
        told.set()

    _, address = serving(Broken(), lose)
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(METHOD)
        sent = call.future(b"", timeout=BOUND_S)
        assert told.wait(BOUND_S)
        # Nobody is kept waiting: callers go to another server, or come again when the process has been started anew.
        assert sent.exception().code() is grpc.StatusCode.UNAVAILABLE
        other: Any = channel.unary_unary("/test.Service/Other")
        with pytest.raises(grpc.RpcError) as answered:
            other(b"", timeout=BOUND_S)
        assert answered.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [str(error) for error in lost] == ["broken"]
    assert "the lane's loop failed" in caplog.text


def test_many_calls_at_once_find_their_way() -> None:
    """More than are dispatched in one go."""
    with opened("lane", react=lambda message, call: call.reply(message)) as transport:
        sent = [transport.send(b"%d" % k) for k in range(500)]
        assert [one.result() for one in sent] == [b"%d" % k for k in range(500)]


def test_a_caller_that_never_sends_its_message_keeps_nobody_waiting() -> None:
    """Its message is still on its way when others have come."""
    intake = InlineIntake()
    lane, address = serving(intake)
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
    lane.stop_server(None).wait()
    lane.stop()


def test_a_lane_that_looks_before_it_sleeps_misses_nothing() -> None:
    """With a core to spare it does so as long as one call follows upon the other; then it sleeps as ever."""
    with opened("lane", react=lambda message, call: call.reply(message), cores=2) as transport:
        lane: Lane = transport.serving
        for round_ in range(3):
            assert [transport.send(b"%d" % k).result() for k in range(100)] == [b"%d" % k for k in range(100)]
            done = threading.Event()
            lane.thread.call_soon(done.set)
            assert done.wait(BOUND_S), round_


def test_tasks_run_on_the_lanes_thread_after_an_answer() -> None:
    """A runner hands over all but one of its answers."""
    with opened("lane") as transport:
        lane: Lane = transport.serving
        ran: list[str] = []
        sent = transport.send()
        _, call = transport.calls.take()
        lane.thread.call_soon(lambda: ran.append(threading.current_thread().name))
        call.reply(b"")
        sent.result()
        assert lane.wait_idle(BOUND_S)
        # One more call: the event that ended the first one has been dealt with entirely.
        again = transport.send()
        transport.calls.take()[1].reply(b"")
        again.result()
        assert ran == ["lane"]


def test_a_spare_task_runs_when_somebody_was_answered() -> None:
    """On the lane's thread, and not while nobody is."""
    with opened("lane", react=lambda message, call: call.reply(message)) as transport:
        lane: Lane = transport.serving
        ran: list[str] = []
        done, idle = threading.Event(), threading.Event()

        def spare() -> None:
            ran.append(threading.current_thread().name)
            done.set()

        lane.thread.call_when_idle(spare)
        lane.thread.call_soon(idle.set)
        assert idle.wait(BOUND_S)
        assert ran == []
        assert transport.send(b"x").result() == b"x"
        assert done.wait(BOUND_S)
        assert ran == ["lane"]


def test_idle_streams_hold_no_threads() -> None:
    """A thousand of them, from a caller that holds none either; a unary call and one of the streams are served."""

    async def converse(transport: Transport, address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            call: Any = channel.stream_stream(STREAM_METHOD)
            first = call(timeout=60)
            await first.write(b"")
            await first.read()
            before = set(threading.enumerate())
            idle = [call(timeout=60) for _ in range(1000)]
            await asyncio.to_thread(until, lambda: transport.serving.open_calls == 1001)
            # But for those that wait for this test.
            added = {each.name for each in set(threading.enumerate()) - before if not each.name.startswith("asyncio_")}
            assert not added
            unary: Any = channel.unary_unary(METHOD)
            assert await unary(b"ask", timeout=BOUND_S) == b"ask"
            await idle[500].write(b"")
            await idle[500].read()
            for stream in (first, *idle):
                await stream.done_writing()
                assert await stream.code() is grpc.StatusCode.OK

    with opened("lane", react=lambda message, call: call.reply(message)) as transport:
        asyncio.run(asyncio.wait_for(converse(transport, transport.address), 60))
        until(lambda: not transport.serving.open_calls)


def test_requests_of_one_stream_are_dispatched_together() -> None:
    """What its caller sends without waiting for answers shares batches, though each message is asked for by itself."""
    begun, go_on, all_sent = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(BOUND_S)

    def requests() -> Iterator[bytes]:
        yield b"first"
        assert begun.wait(BOUND_S)
        yield from (bytes((k,)) for k in range(40))
        all_sent.set()

    intake = InlineIntake(hold)
    lane, address = serving(intake)
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.stream_stream(STREAM_METHOD)
        answers = call(requests(), timeout=BOUND_S)
        assert all_sent.wait(BOUND_S)
        go_on.set()
        assert len(list(answers)) == 41
    lane.stop_server(None).wait()
    lane.stop()
    assert sum(intake.batches) == 41
    assert len(intake.batches) < 10


def test_an_answer_on_a_stream_that_cannot_send_wakes_the_lane_all_the_same() -> None:
    """A runner hands over the other answers of its batch before it sends the first: they must not wait for its turn."""
    with opened("lane") as transport:
        lane: Lane = transport.serving
        ran = threading.Event()
        with conversing(transport) as stream:
            stream.send(b"", b"")
            (_, first), (_, second) = transport.calls.take(), transport.calls.take()
            lane.thread.call_soon(ran.set)
            second.reply(b"")
            assert ran.wait(BOUND_S)
            first.reply(b"")
            assert stream.ids(2) == ["", ""]


def test_a_stream_leaves_no_reference_cycle() -> None:
    """One that does would keep its last messages until the garbage is collected, which is done rarely."""
    with opened("lane") as transport:
        gc.collect()
        gc.disable()
        try:
            for end in ("half_close", "cancel"):
                with conversing(transport) as stream:
                    stream.send(b"", b"")
                    taken = [transport.calls.take() for _ in range(2)]
                    driver = weakref.ref(taken[0][1]._driver)  # type: ignore[attr-defined]  # a StreamCall
                    taken[1][1].reply(b"")
                    if end == "cancel":
                        stream.call.cancel()
                    else:
                        stream.half_close()
                    taken[0][1].reply(b"")
                    taken.clear()
                    until(lambda: not transport.serving.open_calls)
                until(lambda driver=driver: driver() is None)  # type: ignore[misc]  # bound
        finally:
            gc.enable()


def test_a_drain_may_come_at_any_moment_of_a_streams_life() -> None:
    """Streams open and end while another thread drains: each ends, and none twice."""
    for _ in range(10):
        with opened("lane", react=lambda message, call: call.reply(message)) as transport:
            streams = [Conversation(transport.channel) for _ in range(20)]
            for stream in streams:
                stream.send(b"", b"")
                stream.half_close()
            transport.serving.drain()
            answers = [len(stream.rest()) for stream in streams]
            ends = [stream.code() for stream in streams]
            assert set(ends) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
            assert all(count == 2 for count, end in zip(answers, ends, strict=True) if end is grpc.StatusCode.OK)
            assert transport.serving.wait_idle(BOUND_S)
            assert transport.serving.open_calls == 0
