"""A tiny gRPC server for tests of the client, and answers of it: each RPC is answered by one function."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any, Self

import grpc

from sardonyx_wire.messages import METHODS, ModelInferRequest, ModelInferResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[Any, grpc.ServicerContext], Any]

__all__ = ["NOWHERE", "TinyServer", "echo", "hang", "refuse", "say"]

# Nothing listens there: port 1 needs privileges and is assigned to a service that nobody runs.
NOWHERE = "127.0.0.1:1"


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


def echo(request: ModelInferRequest, context: grpc.ServicerContext) -> ModelInferResponse:
    """Every input comes back as an output of the same name."""
    response = ModelInferResponse(
        model_name=request.model_name,
        model_version=request.model_version or "1",
        id=request.id,
        raw_output_contents=request.raw_input_contents,
    )
    for tensor in request.inputs:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return response


def say(*messages: Any) -> Any:
    """Answers one after the other, whatever is asked; the last one again and again."""
    left = list(messages)

    def answer(request: object, context: grpc.ServicerContext) -> Any:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def refuse(code: grpc.StatusCode, text: str) -> Any:
    """An answer that is an error."""

    def answer(request: object, context: grpc.ServicerContext) -> None:
        context.abort(code, text)

    return answer


def hang(_request: Any, context: grpc.ServicerContext) -> ModelInferResponse:
    """Answer when nobody waits any more."""
    over = threading.Event()
    context.add_callback(over.set)
    over.wait(60)
    return ModelInferResponse()
