"""One stream of a caller that the stock server answers: what comes of the caller goes on to it. See relay.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sardonyx_server.rpc.lane.outflow import Flow
from sardonyx_wire.http2.frames import ErrorCode

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.relay import Relay

__all__ = ["Relayed"]


class Relayed:
    """A stream.

    Args:
        stream_id: Its number, for both sides.
        relay: That it goes by.
        window: What the stock server takes of it, in bytes.

    Attributes:
        deadline_s: When :meth:`expire` is due, on ``time.monotonic``: a while after data last came.
        id: As given.
        begun: The stock server has begun to answer.
        flow: What goes to the stock server.
        caller_ended: The caller has sent all it will.
        server_ended: The stock server has sent all it will.
        held: Bytes that the stock server does not take yet.
        used: Bytes that went on and that the caller has not been given back yet.
    """

    __slots__ = (
        "__weakref__", "_relay", "begun", "caller_ended", "deadline_s", "flow", "held", "id", "server_ended", "used",
    )  # fmt: skip

    room = None
    widened = 0
    """The stock server keeps to the caller's window by itself."""

    def __init__(self, stream_id: int, relay: Relay, window: int) -> None:
        self.id = stream_id
        self._relay = relay
        self.begun = self.caller_ended = self.server_ended = False
        self.held = self.used = 0
        self.deadline_s = math.inf
        self.flow = Flow(stream_id, window, paced=True, on_sent=self._sent)

    @property
    def ended(self) -> bool:
        """Whether nothing more of its request is waited for."""
        return self.caller_ended or self.begun

    def expire(self) -> None:
        """Nothing has come for a while."""
        self._relay.expire(self)

    def data(self, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # by position: it is of each call
        """Data came, between two positions; ``ends``: and they were the last."""
        self._relay.data(self, data[begin:end], end=ends)

    def half_close(self) -> None:
        """The caller has sent all it will."""
        self._relay.data(self, b"", end=True)

    def widen(self, size: int) -> None:
        """The caller takes so many more bytes."""
        self._relay.widen(self, size)

    def drop(self) -> None:
        """The caller has gone away."""
        self._relay.reset(self, ErrorCode.CANCEL)

    def all_sent(self, window: int) -> None:
        """What windows held back has been sent."""

    def filled(self, size: int, *, ends: bool) -> None:
        """Never: there is no :attr:`room`."""
        raise AssertionError(f"bug: {size} bytes were put into no room, {ends=}")

    def _sent(self, size: int) -> None:
        self._relay.sent(self, size)
