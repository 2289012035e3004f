"""The lane: ModelInfer and ModelStreamInfer straight from the server's completion queue, driven by one thread.

One step for all calls of a burst before the next step for any of them: receive, read and check, run, answer. To
dispatch on the first message would give batches of one although the rest are already in the socket; and to go back and
forth between core's code and ours for each call finds cold caches each time: a call of a burst of 64 took 30 us, and 27
us in steps (2026-11-26). The burst is over when two looks in a row find nothing: core forgets to look at its sockets
once when it has just finished something by itself.

Cheap models run on this thread. Slow models have runner threads, which hand their answers back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import InvalidRequest, ShuttingDown
from sardonyx_server.rpc.completion_queue import AttachedQueue, Event, receive_operations
from sardonyx_server.rpc.lag import Away
from sardonyx_server.rpc.lane_call import LaneCall
from sardonyx_server.rpc.lane_stream import LaneStream
from sardonyx_server.rpc.listening import listen

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from sardonyx_server.engine.intake import Intake
    from sardonyx_server.rpc.lag import LaneLag
    from sardonyx_server.rpc.methods import Authorise
    from sardonyx_server.rpc.stream import StreamCall

__all__ = ["Lane"]

_LOG = logging.getLogger("sardonyx.lane")

# Calls that core may hand over before the thread comes round to post again. Each costs core a few hundred bytes.
_POSTED_CALLS: Final = 128
# Streams last: they are opened far more rarely.
_POSTED_STREAMS: Final = 32
# How long the thread looks for the next event before it sleeps, where pauses have been shorter than that: to wake up
# takes longer, and finds cold caches. A caller that sends a request upon each answer pauses for some 30 us.
_SPIN_S: Final = 60e-6
_LONG_PAUSE_S: Final = 1e-3
_PAUSE_GAIN: Final = 0.2
# Messages that make a step of their own: enough for warm caches, and for a runner that is free to begin with.
_STEP: Final = 16
# A steady stream of events must not keep the models waiting: dispatch at least this often.
_MAX_BURST_EVENTS: Final = 256


class Lane:
    """Takes the calls of two methods and answers them through an intake.

    Args:
        server: A stock server that has not been started.
        method: Full name of the unary method.
        stream_method: Full name of the one that takes a stream of the same requests.
        intake: Where requests go; used by the lane's thread only.
        authorise: Raises where a call is not allowed; None allows all.
        cores: That this process may use.
        on_lost: Called on the lane's thread if its loop itself fails, which is a bug.
    """

    def __init__(
        self,
        server: grpc.Server,
        *,
        method: str,
        stream_method: str,
        intake: Intake,
        authorise: Authorise | None,
        cores: int = 1,
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._server = server
        self._queue = AttachedQueue(server, (method, stream_method))
        self._method = method
        self._stream_method = stream_method
        self._intake = intake
        self._authorise = authorise
        self._on_lost = on_lost
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
        self._received = 0
        self._ended = 0
        # Messages of the burst that is being received, each with who waits and when it came.
        self._burst: list[tuple[bytes, LaneCall | StreamCall, float]] = []
        # Streams are opened and ended on the lane's thread, and drained from another one.
        self._streams: set[LaneStream] = set()
        self._streams_lock = threading.Lock()
        self._draining = False
        self._idle: threading.Event | None = None
        self._away = Away(time.monotonic)
        self._tasks: deque[Callable[[], None]] = deque()
        self._asleep = False
        # On one core the caller could do nothing meanwhile.
        self._spin_s = _SPIN_S if cores > 1 else 0.0
        self._pause_s = _LONG_PAUSE_S

    name = "lane"

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

    def later(self, task: Callable[[], None]) -> bool:
        """Have a task run on the lane's thread. Any thread; never blocks.

        Returns:
            Whether it will be run soon; if not, the lane sleeps until the next event, such as an answer makes.
        """
        self._tasks.append(task)
        return not self._asleep

    def listen(self, host: str, port: int) -> int:
        """Bind the address. Returns the port.

        Raises:
            CannotListen: It is taken or not ours.
        """
        return listen(self._server, host, port)

    def start(self) -> None:
        """Take calls. Requires: the server has been started. Once."""
        for _ in range(_POSTED_CALLS):
            self._queue.post(self._method, self._on_request)
        for _ in range(_POSTED_STREAMS):
            self._queue.post(self._stream_method, self._on_stream)
        self._thread.start()

    def drain(self) -> None:
        """Refuse new streams, end those that are idle, and the others when what is in flight is answered.

        Calls of the unary method are taken as before. Any thread but the lane's; does not block.
        """
        with self._streams_lock:
            self._draining = True
            streams = tuple(self._streams)
        for stream in streams:
            stream.drain()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is open. Blocks; :meth:`hurry` ends it early.

        Returns:
            Whether that came about.
        """
        self._idle = threading.Event()
        if not self.open_calls:
            return True
        self._idle.wait(timeout_s)
        return not self.open_calls

    def hurry(self) -> None:
        """End :meth:`wait_idle`."""
        if self._idle is not None:
            self._idle.set()

    def stop_server(self, grace_s: float | None) -> threading.Event:
        """Take no more calls; those under way have so long, then they are cancelled. Again: with less time.

        Returns:
            Set when that is over.
        """
        return self._server.stop(grace_s)

    def stop(self) -> None:
        """End the thread. Requires: the server is stopped and every call has been answered. Once; blocks shortly."""
        self._queue.shutdown()
        self._thread.join()

    def _run(self) -> None:
        """Body of the lane's thread."""
        try:
            self._take_events()
        except Exception as error:  # noqa: BLE001  # logged with its traceback; the process is told to end
            _LOG.exception("bug: the lane's loop failed")
            self._on_lost(error)
            # Until the process has ended, health tells that it is not serving.
            self._queue.relay_rest()

    def _take_events(self) -> None:
        """Take events until the queue ends."""
        poll, foreign, relay = self._queue.poll, self._queue.foreign, self._queue.relay
        doing, tasks, burst = self._away.doing, self._tasks, self._burst
        # Of the burst that is being received: events so far, looks that found nothing, and whether the intake has some.
        events = misses = 0
        begun = False
        while True:
            if begun or burst:
                event = poll(0)
            else:
                events = misses = 0
                event = self._await_event()
            tag = event.tag
            if tag is None:
                if self._queue.ended(event):
                    return
                misses += 1
            elif type(tag) in foreign:
                relay(event)
            else:
                misses = 0
                tag(event)
            while tasks:
                doing(tasks.popleft())
            events += 1
            if misses > 1 or events >= _MAX_BURST_EVENTS:
                events = misses = 0
                begun = False
                doing(self._dispatch)
            elif len(burst) >= _STEP:
                begun = True
                doing(self._take_in_step)
            # Kept while the thread waits, these would keep the last message in memory.
            event = tag = None

    def _await_event(self) -> Event:
        """The next event; its tag may be None where there is a task to do."""
        poll, tasks = self._queue.poll, self._tasks
        event = poll(0)
        if event.tag is not None or tasks:
            return event
        began_s = now_s = time.monotonic()
        if self._pause_s < self._spin_s:
            until_s = began_s + self._spin_s
            while now_s < until_s:
                event = poll(0)
                now_s = time.monotonic()
                if event.tag is not None or tasks:
                    break
        if event.tag is None and not tasks:
            # First this, then the look: a task that is added in between is either seen or told of the sleep.
            self._asleep = True
            event = poll(0 if tasks else None)
            self._asleep = False
            now_s = time.monotonic()
        self._pause_s += (min(now_s - began_s, _LONG_PAUSE_S) - self._pause_s) * _PAUSE_GAIN
        return event

    def _on_request(self, event: Event) -> None:
        if not event.success:
            return  # The server is stopping and hands back what was posted.
        self._queue.renew(self._method, self._on_request)
        self._received += 1
        call = LaneCall(self, event)
        if self._authorise is not None:
            try:
                self._authorise(self._method, call.metadata, call.peer())
            except Exception as error:  # noqa: BLE001  # the caller gets its status; the lane goes on
                self._intake.refuse(error, call)
                return
        event.call.start_server_batch(receive_operations(), call.on_message)

    def _on_stream(self, event: Event) -> None:
        if not event.success:
            return  # As above.
        self._queue.renew(self._stream_method, self._on_stream)
        self._received += 1
        call = LaneCall(self, event)
        stream = LaneStream(self, call, event.call)
        try:
            if self._authorise is not None:
                self._authorise(self._stream_method, call.metadata, call.peer())
            self._keep(stream)
        except Exception as error:  # noqa: BLE001  # as above
            self._intake.refuse(error, call)
            return
        stream.open()

    def _keep(self, stream: LaneStream) -> None:
        with self._streams_lock:
            if self._draining:
                raise ShuttingDown("the server is stopping and takes no new streams; go to another server")
            self._streams.add(stream)

    def on_stream_ended(self, stream: LaneStream) -> None:
        """A stream is over, and the engine has nothing of it any more."""
        with self._streams_lock:
            self._streams.discard(stream)
        self.on_ended(None)

    def is_current_thread(self) -> bool:
        """Whether the caller is on the lane's thread."""
        return threading.get_ident() == self._thread.ident

    def take_in(self, message: bytes, call: LaneCall | StreamCall) -> None:
        """A request has come: it is dealt with at the end of its burst."""
        self._burst.append((message, call, time.monotonic()))

    def receive(self, call: LaneCall, event: Event) -> None:
        """The request message of a call has come, or will not."""
        message = event.batch_operations[0].message()
        if message is None:
            self._intake.refuse(InvalidRequest("the call ended without a request message", reason="NO_MESSAGE"), call)
        else:
            self._burst.append((message, call, time.monotonic()))

    def _take_in_step(self) -> None:
        """Read and check what has been received. Runners may begin with it; inline models wait for the whole burst."""
        self._accept_all()
        self._intake.begin()

    def _dispatch(self) -> None:
        """Set all models to work on the burst. Blocks while inline models run."""
        self._accept_all()
        self._intake.run_waiting()

    def _accept_all(self) -> None:
        accept, burst = self._intake.accept, self._burst
        for message, call, received_s in burst:
            accept(message, call, received_s)
        burst.clear()

    def on_ended(self, _event: Event) -> None:
        """The answer of a call is sent, or its caller is gone."""
        self._ended += 1
        if self._idle is not None and self._ended == self._received:
            self._idle.set()
