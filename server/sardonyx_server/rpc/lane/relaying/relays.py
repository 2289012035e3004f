"""The caller's side of what is relayed: its ways to the stock server, and what comes back by them. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.windows.outflow import NO_WINDOW, Flow
from sardonyx_server.rpc.status import to_status

if TYPE_CHECKING:
    from sardonyx_server.errors import ServerError
    from sardonyx_server.rpc.lane.calls.replies import Replies
    from sardonyx_server.rpc.lane.relaying.host import RelayHost
    from sardonyx_server.rpc.lane.relaying.relay import Relay
    from sardonyx_server.rpc.lane.relaying.relayed import Relayed
    from sardonyx_server.rpc.lane.windows.held import HeldBytes
    from sardonyx_wire.http2.hpack import Field

__all__ = ["Relays"]

# So much of one caller's may wait for the stock server whatever else is held back.
_HELD_BYTES: Final = 16 << 20


class Relays:
    """Of one connection.

    Args:
        host: The lane.
        replies: Of the connection.

    Attributes:
        held: What all connections hold back.
        peer: Address of the caller.
        put: Sends frames to the caller as they are.
    """

    __slots__ = ("_host", "_relays", "_replies", "held", "peer", "put")

    def __init__(self, host: RelayHost, replies: Replies) -> None:
        self._host = host
        self._replies = replies
        self.held: HeldBytes = host.held
        self.peer = replies.peer
        self.put = replies.put
        # The last one takes new streams; those before it have some left.
        self._relays: list[Relay] = []

    @property
    def initial_window(self) -> int:
        """What the caller takes of a stream that begins, in bytes."""
        return self._replies.outflow.initial_window

    @property
    def stopping(self) -> bool:
        """Whether the stock server takes no more calls."""
        return self._host.stopping

    def open(self, stream_id: int, fields: list[Field], *, ends: bool) -> Relayed | None:
        """A stream begins; None where the stock server takes no more, or not yet."""
        if not self._relays or not self._relays[-1].usable:
            relay = self._host.relay(self)
            if relay is None:
                return None
            self._relays = [*(each for each in self._relays if not each.finished), relay]
        relay = self._relays[-1]
        full = self.held.is_much
        if relay.is_behind or (full and relay.outflow.held_bytes > _HELD_BYTES):
            return None
        return relay.open(stream_id, fields, end=ends)

    def set_initial_window(self, size: int) -> None:
        """The caller takes so much on each stream."""
        for relay in self._relays:
            relay.set_initial_window(size)

    def give_up(self) -> None:
        """The caller is gone."""
        for relay in self._relays:
            relay.give_up()

    # What relay.py and relayed.py want of it.

    def send(self, stream: Relayed, part: memoryview | bytes, relay: Relay) -> None:
        """Data (a view) or frames of a stream, in order. ``relay`` hears how much of it has gone on."""
        replies = self._replies
        replies.strikes = 0
        flow = replies.outflow.flow(stream.id) or Flow(stream.id, NO_WINDOW, paced=True, on_sent=relay.returned)
        replies.outflow.send(flow, part)

    def ended(self, stream: Relayed) -> None:
        """A stream is over for both sides."""
        self._replies.streams.pop(stream.id, None)

    def watch(self, stream: Relayed) -> None:
        """Have a stream expire at its deadline."""
        self._host.watch(stream)

    def fail(self, stream: Relayed, error: ServerError) -> None:
        """End a stream that the stock server has not begun to answer, on both sides."""
        self._replies.cut_off_relayed(stream.id, to_status(error))
