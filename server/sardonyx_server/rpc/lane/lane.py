"""The thread of the lane: waits for all sockets, reads what is there, runs it, and writes what came of it.

All that the sockets hold is read before any model runs: to dispatch on the first message would give batches of one
although the rest are already there. Cheap models run on this thread. Slow models have runner threads, which hand their
answers back. What belongs to neither method goes on to the stock server, which listens on a socket of its own.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import select
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.engine.queue import ByteBudget
from sardonyx_server.errors import ShuttingDown
from sardonyx_server.rpc.lag import Away
from sardonyx_server.rpc.lane.call import LaneCall
from sardonyx_server.rpc.lane.connection import Connection
from sardonyx_server.rpc.lane.deadlines import Deadlines
from sardonyx_server.rpc.lane.doors import Doors, peer_name
from sardonyx_server.rpc.lane.outflow import HeldBytes
from sardonyx_server.rpc.lane.relay import Relay
from sardonyx_server.rpc.lane.stream import LaneStream
from sardonyx_server.rpc.lane.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from sardonyx_server.engine.call import Call, Refused
    from sardonyx_server.rpc.lag import LaneLag
    from sardonyx_server.rpc.lane.compression import Level
    from sardonyx_server.rpc.lane.relays import Relays
    from sardonyx_server.rpc.lane.wire import Owner
    from sardonyx_server.rpc.methods import Authorise
    from sardonyx_server.rpc.stream import StreamCall

__all__ = ["Lane", "Limits"]

_LOG = logging.getLogger("sardonyx.lane")

# How long the thread looks for the next event before it sleeps, where pauses have been shorter than that: to wake up
# takes longer, and finds cold caches. A single caller that sends a request upon each answer pauses for some 80 us: with
# 60 us in place of 150, which never came to wait for it, a call took 123 us in place of 110 (2026-11-26).
_SPIN_S: Final = 150e-6
_LONG_PAUSE_S: Final = 1e-3
_PAUSE_GAIN: Final = 0.2
# Messages that make a step of their own: enough for a runner that is free to begin with.
_STEP: Final = 16
# A steady stream of messages must not keep the models waiting: dispatch at least this often.
_MAX_BURST: Final = 256
_EVENTS: Final = 256
# Looks at the sockets before what has come is dispatched: one that always has something must not keep the rest waiting.
_MAX_LOOKS: Final = 8
# How long callers have to close once they have all their answers and were told to go.
_GOODBYE_S: Final = 0.5


class Requests(Protocol):
    """Where requests go: :class:`~sardonyx_server.engine.intake.Intake`, or what stands in for it."""

    def accept(self, message: bytes | memoryview, call: Call, received_s: float | None = None, /) -> None:
        """Take one request in."""

    def refuse(self, error: Exception, call: Refused, /) -> None:
        """Answer a request that belongs to no model."""

    def begin(self) -> None:
        """Wake runners that have enough to do."""

    def run_waiting(self) -> None:
        """Set the models to work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What callers may do.

    Attributes:
        max_message_bytes: Largest message that is accepted or sent.
        unfinished_bytes: Most bytes of messages that are not whole yet; and of answers that callers do not take.
        min_ping_interval_s: Callers that ping more often are cut off.
    """

    max_message_bytes: int
    unfinished_bytes: int
    min_ping_interval_s: float


class Lane:
    """Takes two methods from the sockets and answers them through an intake.

    Args:
        server: A stock server that has not been started; takes all other methods.
        methods: Full names of the unary method, and of the one that takes a stream of the same requests.
        intake: Where requests go; used by the lane's thread only.
        authorise: Raises where a call is not allowed; None allows all.
        cores: That this process may use.
        compression: How much work goes into compressing answers, for callers that accept it.
        limits: Of what callers may do.
        on_lost: Called on the lane's thread if its loop itself fails, which is a bug.
    """

    name = "lane"

    def __init__(
        self,
        server: grpc.Server,
        *,
        methods: tuple[str, str],
        intake: Requests,
        authorise: Authorise | None,
        cores: int = 1,
        compression: Level = "none",
        limits: Limits,
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._server = server
        self._intake = intake
        self._authorise = authorise
        self._on_lost = on_lost
        unary, streamed = methods
        self.methods: Mapping[bytes, type[LaneCall | LaneStream]] = {
            unary.encode(): LaneCall,
            streamed.encode(): LaneStream,
        }
        self.max_message_bytes = limits.max_message_bytes
        self.unfinished = ByteBudget(limits.unfinished_bytes)
        self.held = HeldBytes()
        self.min_ping_interval_s = limits.min_ping_interval_s
        self.compression: Level = compression
        # Linux's abstract name: no file that could be left behind. Whoever is on this machine can see it, as the port.
        self._back_door = f"sardonyx-{secrets.token_hex(16)}"
        self._epoll = select.epoll()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._waker, select.EPOLLIN)
        self._doors = Doors(self._epoll, self._on_connected)
        self._wires: dict[int, Wire] = {}
        self._wire_of: dict[Owner, Wire] = {}
        # Those who have something to be written.
        self._touched: list[Owner] = []
        self._burst: deque[tuple[bytes | memoryview, LaneCall | StreamCall, float]] = deque()
        # How many of the burst the intake has already.
        self._accepted = 0
        self._streams: set[LaneStream] = set()
        self._deadlines = Deadlines()
        self._draining = False
        self.stopping = False
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
        self._received = 0
        self._ended = 0
        # Each set when no call is open, or when there is no time left to wait for that.
        self._waiters: list[threading.Event] = []
        self._closing = False
        self._one_gone = threading.Event()
        self._over = False
        self._away = Away(time.monotonic)
        self._tasks: deque[Callable[[], None]] = deque()
        self._asleep = False
        # On one core the caller could do nothing meanwhile.
        self._spin_s = _SPIN_S if cores > 1 else 0.0
        self._pause_s = _LONG_PAUSE_S

    @property
    def open_calls(self) -> int:
        """Calls that were taken and are not over yet."""
        return self._received - self._ended

    @property
    def open_streams(self) -> int:
        """Those of them that are streams."""
        return len(self._streams)

    @property
    def lag(self) -> LaneLag:
        """How late the thread got to its events so far."""
        return self._away.snapshot()

    def later(self, task: Callable[[], None]) -> None:
        """Have a task run on the lane's thread, soon. Any thread; never blocks."""
        self._tasks.append(task)
        if self._asleep:
            os.eventfd_write(self._waker, 1)

    def listen(self, host: str, port: int) -> int:
        """Bind the address. Returns the port.

        Raises:
            CannotListen: It is taken or not ours.
        """
        self._server.add_insecure_port(f"unix-abstract:{self._back_door}")
        return self._doors.open(host, port)

    def start(self) -> None:
        """Take calls. Requires: the server has been started. Once."""
        self._thread.start()

    def drain(self) -> None:
        """Refuse new streams, end those that are idle, and the others when what is in flight is answered.

        Calls of the unary method are taken as before. Any thread; does not block.
        """
        self.later(self._drain_streams)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is open. Blocks; :meth:`hurry` ends it early.

        Returns:
            Whether that came about.
        """
        waiter = threading.Event()
        self._waiters.append(waiter)
        if self.open_calls:
            waiter.wait(timeout_s)
        self._waiters.remove(waiter)
        return not self.open_calls

    def hurry(self) -> None:
        """End :meth:`wait_idle`."""
        for waiter in list(self._waiters):
            waiter.set()

    def stop_server(self, grace_s: float | None) -> threading.Event:
        """Take no more calls; those under way have so long, then they are cancelled. Again: with less time.

        Returns:
            Set when that is over. What was answered may still be on its way to slow callers.
        """
        self.stopping = True
        stopped, over = self._server.stop(grace_s), threading.Event()
        self.later(self._close_doors)
        if not grace_s:
            self.hurry()
        threading.Thread(
            target=self._await_stop, args=(grace_s or 0.0, stopped, over), name="lane-stop", daemon=True
        ).start()
        return over

    def stop(self, patience_s: float = 0.0) -> None:
        """End the thread. Requires: the server is stopped and every call has been answered. Once; blocks.

        Args:
            patience_s: How long callers have to take what was answered.
        """
        began_s = time.monotonic()
        while self._wires and (waited_s := time.monotonic() - began_s) < patience_s:
            if waited_s >= _GOODBYE_S and not any(wire.is_writing for wire in list(self._wires.values())):
                break  # Who has heard all and does not close is waited for no longer.
            self._one_gone.wait(_GOODBYE_S / 10)
            self._one_gone.clear()
        self.later(self._end)
        self._thread.join()
        # Here, where nobody can be about to wake the thread.
        os.close(self._waker)
        self._epoll.close()

    # What connections want.

    def is_current_thread(self) -> bool:
        """Whether the caller is on the lane's thread."""
        return threading.get_ident() == self._thread.ident

    def begun(self, call: LaneCall | LaneStream, method: str) -> None:
        """A call came. Raises where it is not allowed."""
        self._received += 1
        if isinstance(call, LaneStream):
            self._streams.add(call)
            self._deadlines.add(call)
        if self._authorise is not None:
            self._authorise(method, call.metadata, call.peer())
        if self._draining and isinstance(call, LaneStream):
            raise ShuttingDown("the server is stopping and takes no new streams; go to another server")

    def stream_ended(self, stream: LaneStream) -> None:
        """A stream that began is over, and the engine has nothing of it any more."""
        self._streams.discard(stream)
        self.ended()

    def take_in(self, message: bytes | memoryview, call: LaneCall | StreamCall) -> None:
        """A message is whole: it is dealt with at the end of its burst."""
        self._burst.append((message, call, time.monotonic()))

    def watch(self, call: LaneCall) -> None:
        """Have a call expire at its deadline."""
        self._deadlines.add(call)

    def take_in_now(self, message: bytes | memoryview, call: LaneCall | StreamCall) -> None:
        """A message was compressed: it is admitted or refused at once."""
        self.take_in(message, call)
        self._accept_all()

    def refuse(self, error: Exception, call: LaneCall | LaneStream) -> None:
        """A call cannot go on: answer it."""
        self._intake.refuse(error, call)

    def ended(self) -> None:
        """A call that began is over."""
        self._ended += 1
        if self._waiters and not self.open_calls:
            self.hurry()

    def touch(self, owner: Owner) -> None:
        """Somebody has something to be written."""
        self._touched.append(owner)

    def relay(self, relays: Relays) -> Relay | None:
        """A way to the stock server; None where it takes no more."""
        relay = Relay(relays, self.touch)
        try:
            back = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                back.connect(f"\0{self._back_door}")
                self._keep(back, relay)
            except OSError:
                back.close()
                raise
        except OSError as error:
            _LOG.warning("the stock server behind the lane takes no connection", extra={"reason": str(error)})
            return None
        return relay

    def _run(self) -> None:
        """Body of the lane's thread."""
        try:
            self._take_events()
        except Exception as error:  # noqa: BLE001  # logged with its traceback; the process is told to end
            _LOG.exception("bug: the lane's loop failed")
            self._on_lost(error)
            # Nobody must be kept waiting.
            self._doors.close()
        for wire in list(self._wires.values()):
            wire.close()

    def _take_events(self) -> None:
        poll, wires, tasks, burst, doing = self._epoll.poll, self._wires, self._tasks, self._burst, self._away.doing
        looks = 0
        while not self._over:
            events = poll(0, _EVENTS) if burst or self._accepted else self._await_events()
            for fd, mask in events:
                wire = wires.get(fd)
                if wire is not None:
                    wire.on_events(mask)
                elif fd == self._waker:
                    os.eventfd_read(fd)
                else:
                    self._doors.on_event(fd)
            while tasks:
                doing(tasks.popleft())
            looks += 1
            if (burst or self._accepted) and (not events or looks >= _MAX_LOOKS or self._is_whole()):
                doing(self._dispatch)
            elif len(burst) >= _STEP:
                doing(self._take_in_step)
            if not events or looks >= _MAX_LOOKS:
                looks = 0
                self._see_clock(time.monotonic())
            if self._touched or self._closing:
                self._flush()

    def _is_whole(self) -> bool:
        """Whether not to look for more: there is much already, or it is the only call that anybody has begun."""
        return len(self._burst) + self._accepted >= _MAX_BURST or self.open_calls == 1

    def _await_events(self) -> list[tuple[int, int]]:
        """The next events; none where there is a task to do."""
        poll, tasks = self._epoll.poll, self._tasks
        events = poll(0, _EVENTS)
        if events or tasks:
            return events
        began_s = now_s = time.monotonic()
        if self._pause_s < self._spin_s:
            until_s = began_s + self._spin_s
            while now_s < until_s:
                events = poll(0, _EVENTS)
                now_s = time.monotonic()
                if events or tasks:
                    break
        if not events and not tasks:
            # First this, then the look: a task that is added in between is either seen or wakes the thread.
            self._asleep = True
            events = poll(0 if tasks else self._patience_s(now_s), _EVENTS)
            self._asleep = False
            now_s = time.monotonic()
        self._pause_s += (min(now_s - began_s, _LONG_PAUSE_S) - self._pause_s) * _PAUSE_GAIN
        return events

    def _patience_s(self, now_s: float) -> float:
        """How long the thread may sleep; below 0 = for ever."""
        patience_s = min(self._doors.patience_s(now_s), self._deadlines.patience_s(now_s))
        return -1 if patience_s == math.inf else patience_s

    def _see_clock(self, now_s: float) -> None:
        """Do what is due."""
        self._deadlines.expire(now_s)
        self._doors.see_clock(now_s)

    def _take_in_step(self) -> None:
        """Read and check what has been received. Runners may begin with it; inline models wait for the whole burst."""
        self._accept_all()
        self._intake.begin()

    def _dispatch(self) -> None:
        """Set all models to work on the burst. Blocks while inline models run."""
        self._accept_all()
        self._accepted = 0
        self._intake.run_waiting()

    def _accept_all(self) -> None:
        accept, burst = self._intake.accept, self._burst
        while burst:
            # Taken out first: accept() may come back here, for what a stream has next.
            message, call, received_s = burst.popleft()
            self._accepted += 1
            accept(message, call, received_s)

    def _flush(self) -> None:
        """Write what there is to say."""
        touched, wire_of = self._touched, self._wire_of
        while touched:
            wire = wire_of.get(touched.pop())
            if wire is not None:
                wire.flush()
        if self._closing:
            for wire in list(wire_of.values()):
                wire.close_if_finished()

    def _on_connected(self, connected: socket.socket) -> None:
        """A caller came in."""
        self._keep(connected, Connection(self, peer_name(connected)))

    def _keep(self, connected: socket.socket, owner: Owner) -> None:
        self._wire_of[owner] = self._wires[connected.fileno()] = Wire(
            connected, owner, self._epoll, on_closed=self._forget, on_said_all=self._deadlines.add
        )

    def _forget(self, wire: Wire) -> None:
        del self._wires[wire.fd]
        del self._wire_of[wire.owner]
        self._one_gone.set()

    def _close_doors(self) -> None:
        """Take no more connections and calls."""
        self._closing = True
        self._doors.close()
        for connection in self._connections():
            connection.say_goodbye()

    def _connections(self) -> list[Connection]:
        return [owner for owner in self._wire_of if isinstance(owner, Connection)]

    def _drain_streams(self) -> None:
        self._draining = True
        for stream in list(self._streams):
            stream.drain()

    def _cancel_all(self) -> None:
        for connection in self._connections():
            connection.cancel_all()

    def _end(self) -> None:
        self._over = True

    def _await_stop(self, grace_s: float, stopped: threading.Event, over: threading.Event) -> None:
        """Body of a thread: tell when the calls under way are over, or have had their time."""
        if not self.wait_idle(grace_s):
            self.later(self._cancel_all)
        stopped.wait()
        over.set()
