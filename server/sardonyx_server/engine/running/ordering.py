"""Answers in the order of the requests, for models whose config asks for ``preserve_ordering``."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.call import Call
    from sardonyx_wire.framing import Message

__all__ = ["Order", "OrderedCall"]


class Order:
    """The calls of one model that are not answered yet, oldest first. Thread-safe."""

    __slots__ = ("_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[OrderedCall] = deque()

    def enter(self, call: Call) -> OrderedCall:
        """Give a call its place. Requires: calls enter in the order in which they came."""
        ordered = OrderedCall(call, self)
        with self._lock:
            self._waiting.append(ordered)
        return ordered

    def leave(self, call: OrderedCall) -> None:
        """Take back the place of a call that was not admitted: it answers at once."""
        with self._lock:
            self._waiting.remove(call)
        # Another thread's call may have its answer already and wait for this place only.
        self.release()

    def release(self) -> None:
        """Answer every call at the front that has its answer. The lock holds two releasing threads in order."""
        with self._lock:
            while self._waiting and self._waiting[0].answer is not None:
                self._waiting.popleft().send()


class OrderedCall:
    """A call whose answer waits for its turn. See :class:`~sardonyx_server.engine.call.Call`."""

    __slots__ = ("_call", "_order", "answer", "deadline_s")

    def __init__(self, call: Call, order: Order) -> None:
        self._call = call
        self._order = order
        self.answer: Message | Exception | None = None
        self.deadline_s = call.deadline_s

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone away."""
        return self._call.cancelled

    @property
    def streamed(self) -> bool:
        """Whether it is one request of a stream."""
        return self._call.streamed

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the call."""
        return self._call.metadata

    def peer(self) -> str:
        """Address of the caller."""
        return self._call.peer()

    def watch(self) -> None:
        """Keep :attr:`cancelled` up to date."""
        self._call.watch()

    def reply(self, message: Message) -> None:
        """Answer when all earlier calls are answered."""
        self.answer = message
        self._order.release()

    def fail(self, error: Exception) -> None:
        """Fail when all earlier calls are answered."""
        self.answer = error
        self._order.release()

    def send(self) -> None:
        """Send what is kept."""
        if isinstance(self.answer, Exception):
            self._call.fail(self.answer)
        elif self.answer is not None:
            self._call.reply(self.answer)
