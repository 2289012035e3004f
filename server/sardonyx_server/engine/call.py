"""The seam between transport and engine: one unary call that waits for its answer, and who may give it in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.errors import ServerError
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["AnsweredBy", "Answering", "Call", "Refused"]


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

    def reply(self, message: EncodedMessage) -> None:
        """Answer with a serialised ``ModelInferResponse``. The call owns it afterwards."""
        ...


class Answering(Protocol):
    """Who is given the answer of a call, and sees that the call gets it."""

    def reply(self, call: Call, message: EncodedMessage, /) -> None:
        """Any thread; does not block."""

    def fail(self, call: Call, error: Exception, /) -> None:
        """Likewise."""


class AnsweredBy:
    """A call whose answer takes its way through somebody. In all else it is the call: see :class:`Call`.

    Args:
        call: Who waits.
        by: Through whom.
    """

    __slots__ = ("_by", "_call", "deadline_s", "streamed")

    def __init__(self, call: Call, by: Answering) -> None:
        self._call = call
        self._by = by
        self.deadline_s = call.deadline_s
        self.streamed = call.streamed

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone away."""
        return self._call.cancelled

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

    def reply(self, message: EncodedMessage) -> None:
        """Answer."""
        self._by.reply(self._call, message)

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        self._by.fail(self._call, error)
