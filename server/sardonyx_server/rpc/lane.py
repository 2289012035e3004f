"""The lane: ModelInfer on a completion queue of its own, driven by one thread.

Drain before dispatch: the thread takes in what has come together, then sets the models to work on all of it. To
dispatch on the first message of a burst would give batches of one although the rest are already in the socket. A burst
is over when every call that was taken has brought its message: to ask an empty queue instead is no cheap question (80
us with grpcio 1.85, 1 us with 1.68, measured 2026-11-23), so that is only done where a message is still on its way.

Cheap models run on this thread. Slow models have runner threads, which send one answer and hand the others back.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import InvalidRequest
from sardonyx_server.rpc.completion_queue import (
    AttachedQueue,
    Event,
    answer_operations,
    close_operations,
    failure_operations,
    receive_operations,
)
from sardonyx_server.rpc.lag import Away
from sardonyx_server.rpc.status import to_status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

    from sardonyx_server.engine.intake import Intake
    from sardonyx_server.rpc.lag import LaneLag
    from sardonyx_server.rpc.methods import Authorise

__all__ = ["Lane", "LaneCall"]

_LOG = logging.getLogger("sardonyx.lane")

# Calls that core may hand over before the thread comes round to post again. Each costs core a few hundred bytes.
_POSTED_CALLS: Final = 128
# A steady stream of events must not keep the models waiting: dispatch at least this often.
_MAX_DRAINED_EVENTS: Final = 256
# Core's "no deadline" is the end of its clock, some 292 billion years on.
_NO_DEADLINE_S: Final = 1e12


class Lane:
    """Takes the calls of one method and answers them through an intake.

    Args:
        server: A stock server that has not been started.
        method: Full name of the method.
        intake: Where requests go; used by the lane's thread only.
        authorise: Raises where a call is not allowed; None allows all.
        on_lost: Called on the lane's thread if its loop itself fails, which is a bug.
    """

    def __init__(
        self,
        server: grpc.Server,
        *,
        method: str,
        intake: Intake,
        authorise: Authorise | None,
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._queue = AttachedQueue(server, (method,))
        self._method = method
        self._intake = intake
        self._authorise = authorise
        self._on_lost = on_lost
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
        self._received = 0
        self._ended = 0
        # Calls whose message is still to come, and whether the intake holds something that more may join.
        self._arriving = 0
        self._waiting = False
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
    def lag(self) -> LaneLag:
        """How late the thread got to its events so far."""
        return self._away.snapshot()

    def start(self) -> None:
        """Take calls. Requires: the server has been started. Once."""
        for _ in range(_POSTED_CALLS):
            self._queue.post(self._method, self._on_request)
        self._thread.start()

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


class LaneCall:
    """One call on the lane. See :class:`~sardonyx_server.engine.call.Call`."""

    __slots__ = ("_call", "_lane", "_watched", "cancelled", "deadline_s", "metadata")

    streamed = False

    def __init__(self, lane: Lane, event: Event) -> None:
        self._lane = lane
        self._call = event.call
        self._watched = False
        self.metadata: Sequence[tuple[str, str | bytes]] = event.invocation_metadata
        self.cancelled = False
        deadline_s = event.call_details.deadline
        self.deadline_s = deadline_s - time.time() + time.monotonic() if deadline_s < _NO_DEADLINE_S else math.inf

    def peer(self) -> str:
        """Address of the caller."""
        peer: bytes | str = self._call.peer()
        return peer.decode(errors="replace") if isinstance(peer, bytes) else peer

    def watch(self) -> None:
        """Keep :attr:`cancelled` up to date from now on."""
        self._watched = True
        self._call.start_server_batch(close_operations(), self.on_closed)

    def reply(self, message: bytes) -> None:
        """Answer. Any thread; never blocks."""
        self._call.start_server_batch(answer_operations(message, learn_close=not self._watched), self._lane.on_ended)

    def fail(self, error: Exception) -> None:
        """Answer with the status of an error. Any thread; never blocks."""
        status = to_status(error)
        self._call.start_server_batch(
            failure_operations(status.code, status.message, status.trailing, learn_close=not self._watched),
            self._lane.on_ended,
        )

    def on_message(self, event: Event) -> None:
        """Next step after the request: its message."""
        self._lane.receive(self, event)

    def on_closed(self, event: Event) -> None:
        """The call is over: answered, or given up by the caller."""
        self.cancelled = event.batch_operations[0].cancelled()
