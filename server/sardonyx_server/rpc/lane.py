"""The lane: ModelInfer and ModelStreamInfer on a completion queue of their own, driven by one thread.

Drain before dispatch: the thread takes in what has come together, then sets the models to work on all of it. To
dispatch on the first message of a burst would give batches of one although the rest are already in the socket. A burst
is over when every call that was taken has brought its message: to ask an empty queue instead is no cheap question (80
us with grpcio 1.85, 1 us with 1.68, measured 2026-11-23), so that is only done where a message is still on its way.

Cheap models run on this thread. Slow models have runner threads, which send one answer and hand the others back.
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
# A steady stream of events must not keep the models waiting: dispatch at least this often.
_MAX_DRAINED_EVENTS: Final = 256


class Lane:
    """Takes the calls of two methods and answers them through an intake.

    Args:
        server: A stock server that has not been started.
        method: Full name of the unary method.
        stream_method: Full name of the one that takes a stream of the same requests.
        intake: Where requests go; used by the lane's thread only.
        authorise: Raises where a call is not allowed; None allows all.
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
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._queue = AttachedQueue(server, (method, stream_method))
        self._method = method
        self._stream_method = stream_method
        self._intake = intake
        self._authorise = authorise
        self._on_lost = on_lost
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
        self._received = 0
        self._ended = 0
        # Calls whose message is still to come, and whether the intake holds something that more may join.
        self._arriving = 0
        self._waiting = False
        # Whether a stream that sends one request upon the other counts as a call whose message is still to come.
        self._more_likely = False
        # Streams are opened and ended on the lane's thread, and drained from another one.
        self._streams: set[LaneStream] = set()
        self._streams_lock = threading.Lock()
        self._draining = False
        self._idle: threading.Event | None = None
        self._away = Away(time.monotonic)
        self._tasks: deque[Callable[[], None]] = deque()
        self.later: Callable[[Callable[[], None]], None] = self._tasks.append
        """Has a task run on the lane's thread after the next event, such as an answer makes. Thread-safe, never blocks.
        """

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

    def stop(self) -> None:
        """End the thread. Requires: the server is stopped and every call has been answered. Once; blocks shortly."""
        self._queue.shutdown()
        self._thread.join()

    def _run(self) -> None:
        """Body of the lane's thread."""
        poll = self._queue.poll
        run_waiting = self._intake.run_waiting
        doing = self._away.doing
        tasks = self._tasks
        drained = 0
        try:
            while True:
                event = poll(0 if self._waiting else None)
                tag = event.tag
                if tag is not None:
                    tag(event)
                elif self._queue.ended(event):
                    return
                while tasks:
                    doing(tasks.popleft())
                if self._waiting:
                    drained += 1
                    if not self._arriving or tag is None or drained >= _MAX_DRAINED_EVENTS:
                        drained = 0
                        self._waiting = False
                        if self._more_likely:
                            self._more_likely = False
                            self._arriving -= 1
                        doing(run_waiting)
                # Kept while the thread waits, these would keep the last message in memory.
                event = tag = None
        except Exception as error:  # noqa: BLE001  # logged with its traceback; the process is told to end
            _LOG.exception("bug: the lane's loop failed")
            self._on_lost(error)

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
        self._arriving += 1

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

    def take_in(self, message: bytes, call: StreamCall, *, more_likely: bool) -> None:
        """A request has come on a stream.

        Args:
            message: The request.
            call: Who waits.
            more_likely: Whether the next one is worth asking for before the models are set to work.
        """
        if self._intake.accept(message, call):
            self._waiting = True
            if more_likely and not self._more_likely:
                self._more_likely = True
                self._arriving += 1
        else:
            self._waiting = False
            self._away.doing(self._intake.run_waiting)

    def receive(self, call: LaneCall, event: Event) -> None:
        """The request message of a call has come, or will not."""
        self._arriving -= 1
        message = event.batch_operations[0].message()
        if message is None:
            self._intake.refuse(InvalidRequest("the call ended without a request message", reason="NO_MESSAGE"), call)
        elif self._intake.accept(message, call):
            self._waiting = True
        else:
            # Whatever else waited runs along, so there is no burst left to be read to its end.
            self._waiting = False
            self._away.doing(self._intake.run_waiting)

    def on_ended(self, _event: Event) -> None:
        """The answer of a call is sent, or its caller is gone."""
        self._ended += 1
        if self._idle is not None and self._ended == self._received:
            self._idle.set()
