"""One ModelInfer on the lane: how its answer gets back to its caller."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.completion_queue import (
    Event,
    answer_operations,
    close_operations,
    failure_operations,
)
from sardonyx_server.rpc.forwarded import peer_of
from sardonyx_server.rpc.status import to_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.rpc.lane import Lane

__all__ = ["LaneCall"]

# Core's "no deadline" is the end of its clock, some 292 billion years on.
_NO_DEADLINE_S: Final = 1e12


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
        return peer_of(self.metadata, peer.decode(errors="replace") if isinstance(peer, bytes) else peer)

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
