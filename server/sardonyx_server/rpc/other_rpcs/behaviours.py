"""The one way that every call beside inference goes, and the shapes that grpc wants it in.

    bytes -> allowed? -> parse -> answer -> serialise -> bytes          any exception -> status.py -> trailing metadata

Knows no RPC: methods.py says which there are. The behaviours take bytes, not messages: where grpc parses by itself,
what it cannot parse becomes INTERNAL "Exception deserializing request!". They are objects, since grpc reads attributes
off them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from sardonyx_server.errors import Cancelled, DeadlineExceeded, InvalidRequest, ShuttingDown
from sardonyx_server.rpc.other_rpcs.forwarded import peer_of
from sardonyx_server.rpc.status import abort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from grpc_health.v1.health_pb2 import HealthCheckResponse

    from sardonyx_server.rpc.access_control import AccessControl
    from sardonyx_server.rpc.other_rpcs.health import Health
    from sardonyx_server.rpc.other_rpcs.reflection import Reflection

__all__ = ["Entry", "Reflect", "Slow", "Unary", "Wait", "Watch"]

_Result = TypeVar("_Result")


class Entry:
    """The way into every call: who asks, and for what."""

    __slots__ = ("_access_control", "_request", "name", "path")

    def __init__(self, service: str, name: str, request: type[Message], access_control: AccessControl | None) -> None:
        self.name = name
        self.path = f"/{service}/{name}"
        self._request = request
        self._access_control = access_control

    def require_allowed(self, context: grpc.ServicerContext) -> None:
        """Raise where this call is not allowed."""
        if self._access_control is not None:
            metadata = context.invocation_metadata()
            self._access_control.check(self.path, metadata, peer_of(metadata, context.peer()))

    def parse(self, message: bytes) -> Any:
        """The request message.

        Raises:
            InvalidRequest: The bytes are none.
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
    """One request, one response."""

    __slots__ = ("_answer", "_entry")

    def __init__(self, entry: Entry, answer: Callable[[Any], Message]) -> None:
        self._entry = entry
        self._answer = answer

    def __call__(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Runs on a thread of grpc's pool."""
        try:
            self._entry.require_allowed(context)
            response: bytes = self._answer(self._entry.parse(message)).SerializeToString()
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a status and no detail
            abort(context, error)
        return response


class Wait:
    """Waits for what others do, for as long as one caller wants its answer."""

    __slots__ = ("_context",)

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __call__(self, outcome: Future[_Result]) -> _Result:
        """Block until it is there; return or raise it.

        Raises:
            DeadlineExceeded: The caller's time is up. What had not begun will not begin, what had goes on.
            Cancelled: The caller went away; likewise.
        """
        over = threading.Event()
        outcome.add_done_callback(lambda _: over.set())
        if self._context.add_callback(over.set):
            # Without a deadline grpc says that more seconds are left than a wait can take.
            over.wait(min(self._context.time_remaining(), threading.TIMEOUT_MAX))
        if outcome.done():
            try:
                return outcome.result()
            finally:
                # An error keeps this frame and what came with the call. If that kept the error, nobody would free them.
                del outcome
        begun = "has begun, and goes on" if not outcome.cancel() else "had not begun, and will not"
        if self._context.time_remaining() == 0:
            raise DeadlineExceeded(f"the caller's deadline passed; what it asked for {begun}")
        raise Cancelled(f"the caller went away; what it asked for {begun}")


class Slow:
    """One request, one response, which may take long: it holds a thread of a pool that is not grpc's."""

    __slots__ = ("_answer", "_entry", "experimental_thread_pool")

    def __init__(self, entry: Entry, answer: Callable[[Any, Wait], Message], threads: ThreadPoolExecutor) -> None:
        self._entry = entry
        self._answer = answer
        self.experimental_thread_pool = threads  # grpc: run the behaviour there

    def __call__(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Runs on a thread of its own pool."""
        try:
            self._entry.require_allowed(context)
            response: bytes = self._answer(self._entry.parse(message), Wait(context)).SerializeToString()
        except Exception as error:  # noqa: BLE001  # see Unary
            abort(context, error)
        return response


class Watch:
    """One request, any number of responses, and no thread between them."""

    __slots__ = ("_entry", "_health")

    experimental_non_blocking = True  # grpc: the behaviour returns at once and sends by callback

    def __init__(self, entry: Entry, health: Health) -> None:
        self._entry = entry
        self._health = health

    def __call__(
        self,
        message: bytes,
        context: grpc.ServicerContext,
        send: Callable[[HealthCheckResponse | None], None],
    ) -> None:
        """Runs on a thread of grpc's pool, which it leaves at once."""
        try:
            self._entry.require_allowed(context)
            self._health.watch(self._entry.parse(message).service, context, send)
        except Exception as error:  # noqa: BLE001  # see Unary
            abort(context, error)


class Reflect:
    """A stream of requests, one response for each. Holds a thread of its own pool while the stream is open."""

    __slots__ = ("_ended", "_entry", "_open", "_reflection", "experimental_thread_pool")

    def __init__(self, entry: Entry, reflection: Reflection, threads: ThreadPoolExecutor) -> None:
        self._entry = entry
        self._reflection = reflection
        self._open: set[grpc.ServicerContext] = set()
        self._ended = False
        self.experimental_thread_pool = threads  # grpc: run the behaviour there

    def __call__(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Runs on a thread of the stream's own pool until the stream ends."""
        self._open.add(context)
        try:
            self._entry.require_allowed(context)
            self._require_going()
            for answer in self._reflection.answers(self._entry.parse(message) for message in messages):
                yield answer.SerializeToString()
        except grpc.RpcError:
            raise  # the caller went away while its next message was awaited
        except Exception as error:  # noqa: BLE001  # see Unary
            abort(context, error)
        finally:
            self._open.discard(context)

    def end(self) -> None:
        """End the streams that are open: tools keep them so, and a stop would wait for them. Does not block."""
        self._ended = True
        for context in tuple(self._open):
            context.cancel()

    def _require_going(self) -> None:
        if self._ended:
            raise ShuttingDown("the server is stopping; ask another one")
