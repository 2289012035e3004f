"""Answers in the order of the requests, for models whose config asks for ``preserve_ordering``."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.call import Call
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["Order", "Place"]


class Order:
    """The places of one model's calls that are not answered yet, oldest first. Thread-safe."""

    __slots__ = ("_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Place] = deque()

    def enter(self) -> Place:
        """A place for a call. Requires: calls enter in the order in which they came."""
        place = Place(self)
        with self._lock:
            self._waiting.append(place)
        return place

    def leave(self, place: Place) -> None:
        """Take back the place of a call that was not admitted: it answers at once."""
        with self._lock:
            self._waiting.remove(place)
        # Another thread's call may have its answer already and wait for this place only.
        self.release()

    def release(self) -> None:
        """Answer every call at the front that has its answer. The lock holds two releasing threads in order."""
        with self._lock:
            while self._waiting and (send := self._waiting[0].send) is not None:
                self._waiting.popleft()
                send()


class Place:
    """Keeps the answer of one call until all earlier calls are answered.

    See :class:`~sardonyx_server.engine.call.Answering`.

    Attributes:
        send: Gives the call its answer; None until there is one.
    """

    __slots__ = ("_order", "send")

    def __init__(self, order: Order) -> None:
        self._order = order
        self.send: Callable[[], None] | None = None

    def reply(self, call: Call, message: EncodedMessage) -> None:
        """Answer when all earlier calls are answered."""
        self.send = partial(call.reply, message)
        self._order.release()

    def fail(self, call: Call, error: Exception) -> None:
        """Fail when all earlier calls are answered."""
        self.send = partial(call.fail, error)
        self._order.release()
