"""One stream of a caller that the stock server answers: what comes of the caller goes on to it. See relay.py."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.messages.stalled import did_not_come, patience_s
from sardonyx_server.rpc.lane.windows.inflow import MOST_STREAM_BYTES
from sardonyx_server.rpc.lane.windows.outflow import Flow
from sardonyx_wire.http2.constants import END_STREAM
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import ErrorCode, FrameType, frame, rst_stream, window_update

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.relaying.relay import Relay
    from sardonyx_server.rpc.lane.relaying.relays import Relays

__all__ = ["Relayed"]

# How much of the caller's window is used up before it gets it back.
_RETURNED_BYTES: Final = 1 << 16
# Pieces of data that wait for the stock server each for itself. One of a byte takes two hundred as an object.
_MOST_PIECES: Final = 256


class Relayed:
    """A stream.

    Args:
        stream_id: Its number, for both sides.
        relay: That it goes by.
        caller: The caller's side.
        caller_ended: The caller has sent all with its header.

    Attributes:
        deadline_s: When :meth:`expire` is due, on ``time.monotonic``: a while after data last came.
        id: As given.
        begun: The stock server has begun to answer.
        flow: What goes to the stock server.
        caller_ended: The caller has sent all it will.
        server_ended: The stock server has sent all it will.
        held: Bytes that the stock server does not take yet.
    """

    __slots__ = (
        "__weakref__", "_caller", "_over", "_relay", "_used", "begun", "caller_ended", "deadline_s", "flow", "held",
        "id", "server_ended",
    )  # fmt: skip

    room = None
    widened = 0
    """The stock server keeps to the caller's window by itself."""

    def __init__(self, stream_id: int, relay: Relay, caller: Relays, *, caller_ended: bool) -> None:
        self.id = stream_id
        self._relay = relay
        self._caller = caller
        self._over = self.begun = self.server_ended = False
        self.caller_ended = caller_ended
        self.held = 0
        # Bytes that went on, for which the caller has not been given room again.
        self._used = 0
        self.flow = Flow(stream_id, relay.outflow.initial_window, paced=True, on_sent=self._sent)
        self.deadline_s = math.inf
        if not caller_ended:
            # Each holds a thread of the stock server meanwhile, of which there are few: 64 callers that were stopped in
            # the midst of a request left nobody's health checks answered.
            self._wait_on()
            caller.watch(self)

    @property
    def ended(self) -> bool:
        """Whether nothing more of its request is waited for."""
        return self.caller_ended or self.begun or self._over

    def expire(self) -> None:
        """Nothing has come for a while: end a stream whose request does not come. See ``deadlines.py``."""
        if self.ended:
            return
        if self.held:
            # It is the stock server that does not take it.
            self._wait_on()
        if self.deadline_s > time.monotonic():
            self._caller.watch(self)
        else:
            self._caller.fail(self, did_not_come(stopping=self._caller.stopping))

    def hurry(self) -> None:
        """The stock server stops, and would wait for the whole request as long as it may."""
        if not self.ended:
            self._wait_on()
            self._caller.watch(self)

    def data(self, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # by position: it is of each call
        """Data came, between two positions; ``ends``: and they were the last.

        Raises:
            Http2ConnectionError: They are more than the window.
        """
        if self.caller_ended:
            return  # It has said that nothing comes.
        self._wait_on()
        self.held += end - begin
        if self.held > MOST_STREAM_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, f"stream {self.id} was sent more than its window")
        parts: list[memoryview | bytes] = [memoryview(data[begin:end])] if end > begin else []
        if ends:
            self.caller_ended = True
            parts.append(frame(FrameType.DATA, END_STREAM, self.id, b""))
        flow = self.flow
        self._relay.outflow.send(flow, *parts)
        if len(flow.parts) > _MOST_PIECES and not ends:
            flow.parts = deque((memoryview(b"".join(flow.parts)),))
        self._relay.see_end(self)

    def half_close(self) -> None:
        """The caller has sent all it will."""
        self.data(b"", 0, 0, True)  # noqa: FBT003  # as above

    def widen(self, size: int) -> None:
        """The caller takes so many more bytes."""
        self._relay.put(window_update(self.id, size))

    def drop(self) -> None:
        """The caller has gone away."""
        self._relay.forget(self)
        self._relay.put(rst_stream(self.id, ErrorCode.CANCEL))

    def all_sent(self, window: int) -> None:
        """What windows held back has been sent."""

    def filled(self, size: int, *, ends: bool) -> None:
        """Never: there is no :attr:`room`."""
        raise AssertionError(f"bug: {size} bytes were put into no room, {ends=}")

    def forgotten(self) -> None:
        """The relay has nothing more of it."""
        self._over = True
        # They know each other, and are garbage only once they do not.
        self.flow.on_sent = None

    def _wait_on(self) -> None:
        """For what comes next."""
        self.deadline_s = time.monotonic() + patience_s(stopping=self._caller.stopping)

    def _sent(self, size: int) -> None:
        """So many bytes went on to the stock server: the caller may send more."""
        self.held -= size
        self._used += size
        if self._used >= _RETURNED_BYTES and not self.caller_ended:
            self._caller.put(window_update(self.id, self._used))
            self._used = 0
