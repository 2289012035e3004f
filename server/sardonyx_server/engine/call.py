"""The interface between transport and engine: one unary call that awaits its answer, and interceptors of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.errors import ServerError
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["Call", "InterceptedCall", "Rejectable", "ReplyInterceptor"]


class Rejectable(Protocol):
    """A call that can be failed."""

    @property
    def streamed(self) -> bool:
        """Whether it is one request of a stream, so that its answer is also counted as a response."""
        ...

    def fail(self, error: ServerError | Exception) -> None:
        """Answer with the status of ``error``; anything but a ServerError becomes an INTERNAL without details."""
        ...


class Call(Rejectable, Protocol):
    """One call. Exactly one of :meth:`reply` and :meth:`fail` is called, once, from any thread; neither blocks.

    Each transport implements it, and all implementations pass one contract suite.
    """

    @property
    def deadline_s(self) -> float:
        """The caller's deadline, on the clock of ``time.monotonic``; infinity where it set none."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether the caller has cancelled the call or gone away. Updated only after :meth:`watch`."""
        ...

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the call, in the order sent."""
        ...

    def peer(self) -> str:
        """Address of the caller, in gRPC's form (``ipv4:127.0.0.1:53312``)."""
        ...

    def watch(self) -> None:
        """Keep :attr:`cancelled` up to date from now on, for a call that is queued. At most once, before the answer."""
        ...

    def reply(self, message: EncodedMessage) -> None:
        """Answer with a serialised ``ModelInferResponse``. The call owns the message afterwards."""
        ...


class ReplyInterceptor(Protocol):
    """Receives the answer of a call, and passes it on to the call at a time of its choosing."""

    def reply(self, call: Call, message: EncodedMessage, /) -> None:
        """Take the answer. Any thread; does not block."""

    def fail(self, call: Call, error: Exception, /) -> None:
        """Take the error. Any thread; does not block."""


class InterceptedCall:
    """A :class:`Call` whose answer goes through an interceptor.

    Args:
        call: The call.
        interceptor: Receives the answer.
    """

    __slots__ = ("_call", "_interceptor", "deadline_s", "streamed")

    def __init__(self, call: Call, interceptor: ReplyInterceptor) -> None:
        self._call = call
        self._interceptor = interceptor
        self.deadline_s = call.deadline_s
        self.streamed = call.streamed

    @property
    def cancelled(self) -> bool:
        """Whether the caller has cancelled the call or gone away."""
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
        self._interceptor.reply(self._call, message)

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        self._interceptor.fail(self._call, error)
