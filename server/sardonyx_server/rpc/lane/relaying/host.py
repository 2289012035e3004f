"""What relaying wants of the lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.relaying.relay import Relay
    from sardonyx_server.rpc.lane.relaying.relayed import Relayed
    from sardonyx_server.rpc.lane.relaying.relays import Relays
    from sardonyx_server.rpc.lane.windows.held import HeldBytes

__all__ = ["RelayHost"]


class RelayHost(Protocol):
    """The lane. All of it on the lane's thread.

    Attributes:
        stopping: The stock server takes no more calls.
        held: What all connections hold back.
    """

    stopping: bool
    held: HeldBytes

    def relay(self, relays: Relays, /) -> Relay | None:
        """A way to the stock server; None where it takes no more."""

    def watch(self, stream: Relayed, /) -> None:
        """Have a stream expire at its deadline."""
