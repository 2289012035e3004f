"""A reorder buffer: answers leave in the order of the requests, for models whose config sets ``preserve_ordering``."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.call import Call
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["ReorderBuffer", "ReorderSlot"]


class ReorderBuffer:
    """The slots of one model's unanswered calls, oldest first. Thread-safe."""

    __slots__ = ("_lock", "_slots")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: deque[ReorderSlot] = deque()

    def reserve(self) -> ReorderSlot:
        """Reserve the next slot for a call. Requires: called in the order in which the calls arrive."""
        slot = ReorderSlot(self)
        with self._lock:
            self._slots.append(slot)
        return slot

    def cancel(self, slot: ReorderSlot) -> None:
        """Remove the slot of a call that was not admitted: it is answered directly."""
        with self._lock:
            self._slots.remove(slot)
        # The answer of a later call may have been waiting for this slot only.
        self.flush()

    def flush(self) -> None:
        """Send all complete answers at the front. Sending under the lock keeps the order between two threads."""
        with self._lock:
            while self._slots and (send := self._slots[0].send) is not None:
                self._slots.popleft()
                send()


class ReorderSlot:
    """Holds the answer of one call until all earlier calls are answered.

    A :class:`~sardonyx_server.engine.call.ReplyInterceptor`.

    Attributes:
        send: Sends the answer; None until there is one.
    """

    __slots__ = ("_buffer", "send")

    def __init__(self, buffer: ReorderBuffer) -> None:
        self._buffer = buffer
        self.send: Callable[[], None] | None = None

    def reply(self, call: Call, message: EncodedMessage) -> None:
        """Send the answer once all earlier calls are answered."""
        self.send = partial(call.reply, message)
        self._buffer.flush()

    def fail(self, call: Call, error: Exception) -> None:
        """Send the error once all earlier calls are answered."""
        self.send = partial(call.fail, error)
        self._buffer.flush()
