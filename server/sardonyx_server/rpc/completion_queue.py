"""grpcio's own completion queue, driven from Python. The only module that touches grpcio's private API.

``grpc.server`` spends most of a call in its Python layer: a lock, a state object, a thread hand-over and four events a
call. gRPC's core lets a server register further completion queues and bind a method to one of them, as C++ servers do.
This module attaches such a queue to a stock ``grpc.Server``: calls of the attached methods arrive here, all others stay
with grpcio. Checked with grpcio 1.68 to 1.85; :func:`self_check` proves it for the installed one before it is used.
"""

# pyright: reportAttributeAccessIssue=false
# The bundled stubs do not know grpcio's private module.

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # likewise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "AttachedQueue",
    "Event",
    "Operations",
    "answer_operations",
    "close_operations",
    "failure_operations",
    "message_operations",
    "receive_operations",
    "self_check",
    "status_operations",
    "wake_operations",
]

_NO_FLAGS: Final = 0
_OK: Final = 0
_SELF_CHECK_METHOD: Final = "/sardonyx.SelfCheck/Echo"
_SELF_CHECK_STREAM: Final = "/sardonyx.SelfCheck/Echoes"
_SELF_CHECK_TIMEOUT_S: Final = 5.0

# What a finished operation gives: a cygrpc event. Its `tag` is what was posted with the operation.
Event = Any
# An operation object belongs to one batch: sharing one between batches in flight is a double free in grpcio.
Operations = tuple[Any, ...]


class AttachedQueue:
    """A completion queue of ours on a stock server.

    Make it before ``server.start()``, call :meth:`post` after it. One thread polls; any thread may start operations on
    the calls that arrive.

    Args:
        server: A ``grpc.server(...)`` that has not been started.
        methods: Full method names that shall arrive at this queue.
    """

    __slots__ = ("_queue", "_server", "poll")

    def __init__(self, server: grpc.Server, methods: Sequence[str]) -> None:
        self._server = server._state.server  # type: ignore[attr-defined]  # noqa: SLF001  # private API: see the module's docstring
        self._queue = cygrpc.CompletionQueue()
        self._server.register_completion_queue(self._queue)
        for method in methods:
            self._server.register_method(method)
        self.poll: Callable[[float | None], Event] = self._queue.poll
        """Next finished operation; its argument is the Unix time to wait until (0: look only, None: for ever). An event
        with tag None means that nothing came, or that the queue has ended (:meth:`ended`)."""

    def post(self, method: str, tag: object) -> None:
        """Offer to take one more call of ``method``; its request event comes with ``tag``."""
        self._server.request_registered_call(self._queue, self._queue, method, tag)

    def renew(self, method: str, tag: object) -> None:
        """Like :meth:`post`, in place of a call that has come; does nothing where the server is stopping.

        Requires: :meth:`post` has worked once.
        """
        try:  # noqa: SIM105  # suppress would take longer than the request
            self._server.request_registered_call(self._queue, self._queue, method, tag)
        except ValueError:
            pass  # The server may stop at any moment, on another thread: asking first would not help.

    def shutdown(self) -> None:
        """Deliver what is still under way, then end. Once. Requires: the server is stopped."""
        self._queue.shutdown()

    @staticmethod
    def ended(event: Event) -> bool:
        """Whether an event with tag None says that the queue is shut down and empty."""
        return event.completion_type == cygrpc.CompletionType.queue_shutdown  # type: ignore[no-any-return]


def receive_operations() -> Operations:
    """Receive the request message: ``event.batch_operations[0].message()``, None where the caller broke off."""
    return (cygrpc.ReceiveMessageOperation(_NO_FLAGS),)


def close_operations() -> Operations:
    """Learn how the call ends: ``event.batch_operations[0].cancelled()``. Once a call."""
    return (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),)


def answer_operations(message: bytes, *, learn_close: bool) -> Operations:
    """Send an answer and end the call, in one batch.

    Args:
        message: The serialised response.
        learn_close: Whether the batch also takes the close, which every call must take once.
    """
    send = (
        cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
        cygrpc.SendMessageOperation(message, _NO_FLAGS),
        cygrpc.SendStatusFromServerOperation(None, _OK, b"", _NO_FLAGS),
    )
    return (*send, cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS)) if learn_close else send


def failure_operations(
    code: int, message: str, trailing: Sequence[tuple[str, str | bytes]], *, learn_close: bool
) -> Operations:
    """Send a status other than OK and end the call, in one batch."""
    send = (
        cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
        cygrpc.SendStatusFromServerOperation(trailing, code, message.encode(), _NO_FLAGS),
    )
    return (*send, cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS)) if learn_close else send


def message_operations(message: bytes, *, first: bool) -> Operations:
    """Send one message of a stream; one such batch at a time.

    Args:
        message: The serialised response.
        first: Whether it is the first thing sent on this call: initial metadata goes with it.
    """
    send = cygrpc.SendMessageOperation(message, _NO_FLAGS)
    return (cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS), send) if first else (send,)


def status_operations(
    code: int, message: str, trailing: Sequence[tuple[str, str | bytes]] | None, *, first: bool
) -> Operations:
    """End a stream; :func:`message_operations` must have come back. ``first`` as there."""
    send = cygrpc.SendStatusFromServerOperation(trailing, code, message.encode(), _NO_FLAGS)
    return (cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS), send) if first else (send,)


def wake_operations() -> Operations:
    """Nothing: its event comes at once, so it carries a tag from any thread to the one that polls."""
    return ()


def self_check() -> str:
    """Prove that the installed grpcio does what this module relies on, by two calls over a loopback socket.

    Blocks for some milliseconds; runs on the calling thread.

    Returns:
        "" where all is well, else what went wrong: then use the public API.
    """
    try:
        return _echo()
    except Exception as error:  # noqa: BLE001  # private API: anything may be raised, and all of it means "do not use"
        return f"{type(error).__name__}: {error}"


def _echo() -> str:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    attached = AttachedQueue(server, [_SELF_CHECK_METHOD, _SELF_CHECK_STREAM])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        attached.post(_SELF_CHECK_METHOD, "request")
        attached.post(_SELF_CHECK_STREAM, "stream")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return _echo_once(attached, channel) or _echo_stream(attached, channel)
    finally:
        # With grace: cancelling would make core log a GOAWAY to the terminal.
        server.stop(_SELF_CHECK_TIMEOUT_S).wait()
        attached.shutdown()
        while not AttachedQueue.ended(attached.poll(None)):
            pass


def _echo_once(attached: AttachedQueue, channel: grpc.Channel) -> str:
    echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_SELF_CHECK_METHOD)
    answer = echo.future(b"\x00sardonyx", timeout=_SELF_CHECK_TIMEOUT_S, metadata=(("check", "1"),))
    problem = _serve_one_echo(attached)
    return problem or ("" if answer.result() == b"\x00sardonyx" else "the echo differs")


def _serve_one_echo(attached: AttachedQueue) -> str:
    until = time.time() + _SELF_CHECK_TIMEOUT_S
    call = None
    while (event := attached.poll(until)).tag is not None:
        if event.tag == "request":
            call = event.call
            if not time.time() < event.call_details.deadline < until + 1:
                return "the deadline of a call cannot be read"
            if ("check", "1") not in event.invocation_metadata:
                return "the metadata of a call cannot be read"
            call.start_server_batch(receive_operations(), "message")
        elif event.tag == "message" and call is not None:
            message = event.batch_operations[0].message()
            call.start_server_batch(answer_operations(message, learn_close=True), "answer")
        else:
            return ""
    return "no call arrived"


def _echo_stream(attached: AttachedQueue, channel: grpc.Channel) -> str:
    messages = (b"\x00one", b"", b"three")
    echo: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(_SELF_CHECK_STREAM)
    answers = echo(iter(messages), timeout=_SELF_CHECK_TIMEOUT_S)
    problem = _serve_one_stream(attached)
    return problem or ("" if tuple(answers) == messages else "the echoes of a stream differ")


def _serve_one_stream(attached: AttachedQueue) -> str:
    until = time.time() + _SELF_CHECK_TIMEOUT_S
    call = None
    first = True
    while (event := attached.poll(until)).tag is not None:
        if event.tag == "stream":
            call = event.call
            call.start_server_batch(close_operations(), "closed")
            call.start_server_batch(wake_operations(), "awake")
        elif event.tag == "closed":
            return "a stream that ended well counts as cancelled" if event.batch_operations[0].cancelled() else ""
        elif call is None or event.tag == "ended":
            continue
        elif event.tag in ("awake", "sent"):
            call.start_server_batch(receive_operations(), "message")
        elif (message := event.batch_operations[0].message()) is None:
            call.start_server_batch(status_operations(_OK, "", None, first=first), "ended")
        else:
            call.start_server_batch(message_operations(message, first=first), "sent")
            first = False
    return "no stream arrived, or it did not end"
