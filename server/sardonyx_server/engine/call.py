"""The seam between transport and engine: one unary call that waits for its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.errors import ServerError
    from sardonyx_wire.framing import Message

__all__ = ["Call", "Refused"]


class Refused(Protocol):
    """Who can be told that nothing comes of a call."""

    @property
    def streamed(self) -> bool:
        """Whether it is one request of a stream: its answer is counted as a response, too."""
        ...

    def fail(self, error: ServerError | Exception) -> None:
        """Answer with the status of ``error``; anything but a ServerError becomes an INTERNAL that shows nothing."""
        ...


class Call(Refused, Protocol):
    """One call. Exactly one of :meth:`reply` and :meth:`fail` is called, once, from any thread; neither blocks.

    Each transport has one, and all pass one contract suite.
    """

    @property
    def deadline_s(self) -> float:
        """When the caller gives up, on the clock of ``time.monotonic``; infinity where it set no deadline."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone away. Only kept up to date after :meth:`watch`."""
        ...

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the call, in the order sent."""
        ...

    def peer(self) -> str:
        """Address of the caller, in gRPC's form (``ipv4:127.0.0.1:53312``)."""
        ...

    def watch(self) -> None:
        """Keep :attr:`cancelled` up to date from now on: for calls that wait. At most once, before the answer."""
        ...

    def reply(self, message: Message) -> None:
        """Answer with a serialised ``ModelInferResponse``. The call owns it afterwards."""
        ...
