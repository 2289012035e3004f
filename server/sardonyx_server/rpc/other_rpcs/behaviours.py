"""The common path of every call except inference, in the forms that grpc requires.

    bytes -> allowed? -> parse -> answer -> serialise -> bytes          any exception -> status.py -> trailing metadata

Contains no single RPC: methods.py lists them. The behaviours take bytes, not messages: if grpc parsed a malformed
message itself, the caller would get INTERNAL "Exception deserializing request!". They are objects, not functions, since
grpc reads options from their attributes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from sardonyx_server.errors import Cancelled, DeadlineExceeded, InvalidRequest, ShuttingDown
from sardonyx_server.rpc.other_rpcs.peer import peer_of
from sardonyx_server.rpc.status import abort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from grpc_health.v1.health_pb2 import HealthCheckResponse

    from sardonyx_server.rpc.access_control import AccessControl
    from sardonyx_server.rpc.other_rpcs.health import Health
    from sardonyx_server.rpc.other_rpcs.reflection import Reflection

__all__ = ["BlockingUnary", "FutureWaiter", "Reflect", "RpcMethod", "Unary", "Watch"]

_Result = TypeVar("_Result")


class RpcMethod:
    """One RPC method: checks access to it and parses its requests."""

    __slots__ = ("_access_control", "_request", "name", "path")

    def __init__(self, service: str, name: str, request: type[Message], access_control: AccessControl | None) -> None:
        self.name = name
        self.path = f"/{service}/{name}"
        self._request = request
        self._access_control = access_control

    def require_allowed(self, context: grpc.ServicerContext) -> None:
        """Raise if this call bypassed the lane, or access control does not allow it."""
        metadata = context.invocation_metadata()
        peer = peer_of(metadata, context.peer())
        if self._access_control is not None:
            self._access_control.check(self.path, metadata, peer)

    def parse(self, message: bytes) -> Any:
        """Parse a request message.

        Raises:
            InvalidRequest: The bytes are not such a message.
        """
        try:
            return self._request.FromString(message)
        except DecodeError as error:
            raise InvalidRequest(
                f"request of {self.name}: expected a {self._request.DESCRIPTOR.name}, got {len(message):,} bytes "
                "that are none; compare the .proto file the caller was built from",
                reason="MALFORMED_MESSAGE",
            ) from error


class Unary:
    """A unary RPC: one request, one response."""

    __slots__ = ("_answer", "_method")

    def __init__(self, method: RpcMethod, answer: Callable[[Any], Message]) -> None:
        self._method = method
        self._answer = answer

    def __call__(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Serve one call. Runs on a thread of grpc's pool."""
        try:
            self._method.require_allowed(context)
            response: bytes = self._answer(self._method.parse(message)).SerializeToString()
        except Exception as error:  # noqa: BLE001  # the caller gets a status and no internal detail
            abort(context, error)
        return response


class FutureWaiter:
    """Waits for a future while the caller of one call still wants the answer."""

    __slots__ = ("_context",)

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __call__(self, outcome: Future[_Result]) -> _Result:
        """Wait for a future; return its result or raise its exception. Blocks.

        Raises:
            DeadlineExceeded: The deadline of the call passed. Work that has not begun is cancelled; other work goes on.
            Cancelled: The caller cancelled the call or went away; the work is treated alike.
        """
        over = threading.Event()
        outcome.add_done_callback(lambda _: over.set())
        if self._context.add_callback(over.set):
            # Without a deadline grpc reports more remaining seconds than wait() accepts.
            over.wait(min(self._context.time_remaining(), threading.TIMEOUT_MAX))
        if outcome.done():
            try:
                return outcome.result()
            finally:
                # An exception references this frame and the data of the call. If the frame referenced the exception
                # too, this reference cycle would keep them all in memory.
                del outcome
        begun = "has begun, and goes on" if not outcome.cancel() else "had not begun, and will not"
        if self._context.time_remaining() == 0:
            raise DeadlineExceeded(f"the caller's deadline passed; what it asked for {begun}")
        raise Cancelled(f"the caller went away; what it asked for {begun}")


class BlockingUnary:
    """A unary RPC that may block for long: it runs on a thread of a pool of its own, not of grpc's."""

    __slots__ = ("_answer", "_method", "experimental_thread_pool")

    def __init__(
        self, method: RpcMethod, answer: Callable[[Any, FutureWaiter], Message], threads: ThreadPoolExecutor
    ) -> None:
        self._method = method
        self._answer = answer
        self.experimental_thread_pool = threads  # grpc: run the behaviour there

    def __call__(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Serve one call. Runs on a thread of its own pool."""
        try:
            self._method.require_allowed(context)
            response: bytes = self._answer(self._method.parse(message), FutureWaiter(context)).SerializeToString()
        except Exception as error:  # noqa: BLE001  # see Unary
            abort(context, error)
        return response


class Watch:
    """The health Watch: one request, any number of responses; holds no thread between them."""

    __slots__ = ("_health", "_method")

    experimental_non_blocking = True  # grpc: the behaviour returns at once and sends by callback

    def __init__(self, method: RpcMethod, health: Health) -> None:
        self._method = method
        self._health = health

    def __call__(
        self,
        message: bytes,
        context: grpc.ServicerContext,
        send: Callable[[HealthCheckResponse | None], None],
    ) -> None:
        """Open one watch. Runs on a thread of grpc's pool and returns at once."""
        try:
            self._method.require_allowed(context)
            self._health.watch(self._method.parse(message).service, context, send)
        except Exception as error:  # noqa: BLE001  # see Unary
            abort(context, error)


class Reflect:
    """Reflection: a stream of requests, one response for each. An open stream holds a thread of its own pool."""

    __slots__ = ("_ended", "_method", "_open", "_reflection", "experimental_thread_pool")

    def __init__(self, method: RpcMethod, reflection: Reflection, threads: ThreadPoolExecutor) -> None:
        self._method = method
        self._reflection = reflection
        self._open: set[grpc.ServicerContext] = set()
        self._ended = False
        self.experimental_thread_pool = threads  # grpc: run the behaviour there

    def __call__(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Serve one stream. Runs on a thread of its own pool until the stream ends."""
        self._open.add(context)
        try:
            self._method.require_allowed(context)
            self._require_going()
            for answer in self._reflection.answers(self._method.parse(message) for message in messages):
                yield answer.SerializeToString()
        except grpc.RpcError:
            raise  # the caller went away while we waited for its next message
        except Exception as error:  # noqa: BLE001  # see Unary
            abort(context, error)
        finally:
            self._open.discard(context)

    def end(self) -> None:
        """End the open streams: tools keep them open, and a stop would wait for them. Does not block."""
        self._ended = True
        for context in tuple(self._open):
            context.cancel()

    def _require_going(self) -> None:
        if self._ended:
            raise ShuttingDown("the server is stopping; ask another one")
