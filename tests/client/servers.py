"""A tiny gRPC server for tests of the client: each RPC is answered by one function of the test's own."""

from __future__ import annotations

from concurrent import futures
from typing import TYPE_CHECKING, Any, Self

import grpc

from sardonyx_wire.messages import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[Any, grpc.ServicerContext], Any]

__all__ = ["TinyServer"]


class TinyServer:
    """Serves the RPCs it is given, on a free port; all others answer UNIMPLEMENTED.

    Args:
        port: 0 = any that is free.
        place: Where to listen instead, such as ``unix:/path``.
        credentials: For TLS; None = not encrypted.
        **answers: Name of an RPC -> function from (request message, context) to the response message or its bytes.

    Attributes:
        address: For clients.
        calls: Method and metadata of every call so far.
    """

    def __init__(
        self, *, port: int = 0, place: str = "", credentials: grpc.ServerCredentials | None = None, **answers: Answer
    ) -> None:
        self.calls: list[grpc.HandlerCallDetails] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers([_Service(self, answers)])
        place = place or f"127.0.0.1:{port}"
        bound = (
            self._server.add_insecure_port(place)
            if credentials is None
            else self._server.add_secure_port(place, credentials)
        )
        self.address = f"127.0.0.1:{bound}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


class _Service(grpc.GenericRpcHandler):
    def __init__(self, server: TinyServer, answers: dict[str, Answer]) -> None:
        self._server = server
        self._answers = answers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        self._server.calls.append(handler_call_details)
        name = handler_call_details.method.rpartition("/")[2]
        answer = self._answers.get(name)
        if answer is None or METHODS[name].path != handler_call_details.method:
            return None

        def call(message: bytes, context: grpc.ServicerContext) -> bytes:
            response = answer(METHODS[name].request.FromString(message), context)
            return response if isinstance(response, bytes) else response.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(call)
