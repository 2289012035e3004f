"""grpcio's own completion queue, driven from Python, for the bare echo. The only module that touches its private API.

``grpc.server`` spends most of a call in its Python layer: a lock, a state object, a thread hand-over and four events a
call. gRPC's core lets a server bind a method to a completion queue, as C++ servers do. This module puts a queue of ours
in the place of a stock ``grpc.Server``'s own: calls of the attached methods arrive here, all other events go on to
grpcio. One queue and not two, because with two of them two threads wait for the same sockets and wake each other.
Checked with grpcio 1.68 to 1.85.
"""

# pyright: reportAttributeAccessIssue=false
# The bundled stubs do not know grpcio's private module.

from __future__ import annotations

from queue import SimpleQueue
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # likewise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

__all__ = ["AttachedQueue", "Event", "Operations", "answer_operations", "receive_operations"]

_NO_FLAGS: Final = 0
_OK: Final = 0

# What a finished operation gives: a cygrpc event. Its `tag` is what was posted with the operation.
Event = Any
# An operation object belongs to one batch: sharing one between batches in flight is a double free in grpcio.
Operations = tuple[Any, ...]


class AttachedQueue:
    """A completion queue of ours in the place of a stock server's own.

    Make it before ``server.start()``, call :meth:`post` after it. One thread polls, from the start of the server to its
    end, and relays what is grpcio's.

    Args:
        server: A ``grpc.server(...)`` that has not been started.
        methods: Full method names that shall arrive at this queue.
    """

    __slots__ = ("_queue", "_server", "poll", "relay")

    foreign: Final = frozenset((str, FunctionType))
    """Types of the tags that grpcio itself posts: an event with one of these goes to :attr:`relay`, and no tag of ours
    is of them."""

    def __init__(self, server: grpc.Server, methods: Sequence[str]) -> None:
        state = server._state  # type: ignore[attr-defined]  # noqa: SLF001  # private API: see the module's docstring
        self._server = state.server
        self._queue = state.completion_queue = _Relayed()
        self._server.register_completion_queue(self._queue)
        for method in methods:
            self._server.register_method(method)
        self.poll: Callable[[float | None], Event] = super(_Relayed, self._queue).poll
        """Next finished operation; its argument is the Unix time to wait until (0: look only, None: for ever). An event
        with tag None means that nothing came, or that the queue has ended (:meth:`ended`)."""
        self.relay: Callable[[Event], None] = self._queue.events.put
        """Hand an event to grpcio's own thread. Never blocks."""

    def post(self, method: str, tag: object) -> None:
        """Offer to take one more call of ``method``; its request event comes with ``tag``."""
        self._server.request_registered_call(self._queue, self._queue, method, tag)

    def renew(self, method: str, tag: object) -> None:
        """Like :meth:`post`, in place of a call that has arrived; does nothing while the server is stopping.

        Requires: :meth:`post` has worked once.
        """
        try:  # noqa: SIM105  # suppress would take longer than the request
            self._server.request_registered_call(self._queue, self._queue, method, tag)
        except ValueError:
            pass  # The server may stop at any moment, on another thread: asking first would not help.

    def shutdown(self) -> None:
        """Deliver pending events, then end. Call once. Requires: the server is stopped."""
        self._queue.shutdown()

    @staticmethod
    def ended(event: Event) -> bool:
        """Whether an event with tag None says that the queue is shut down and empty."""
        return event.completion_type == cygrpc.CompletionType.queue_shutdown  # type: ignore[no-any-return]


class _Relayed(cygrpc.CompletionQueue):  # type: ignore[misc]  # private API has no types
    """The stock server's queue: core posts to it, and grpcio's thread gets only relayed events."""

    def __init__(self) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()

    def poll(self, deadline: float | None = None) -> Event:  # noqa: ARG002  # grpcio's thread looks up once a second; it need not
        """The next event that is grpcio's. Blocks."""
        return self.events.get()


def receive_operations() -> Operations:
    """Receive the request message: ``event.batch_operations[0].message()``, None if the caller cancelled."""
    return (cygrpc.ReceiveMessageOperation(_NO_FLAGS),)


def answer_operations(message: bytes) -> Operations:
    """Send an answer and end the call, in one batch: initial metadata, message, status and close."""
    return (
        cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
        cygrpc.SendMessageOperation(message, _NO_FLAGS),
        cygrpc.SendStatusFromServerOperation(None, _OK, b"", _NO_FLAGS),
        cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),
    )
