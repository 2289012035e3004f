"""The caller's end of a stream: a test sends, reads and ends it step by step."""

from __future__ import annotations

import queue
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse
from tests.server.rpc.transports import BOUND_S, STREAM_METHOD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.rpc.transports import Transport

__all__ = ["Conversation", "answer", "conversing", "request"]


def request(request_id: str = "", payload: bytes = b"") -> bytes:
    """What a caller sends."""
    return ModelInferRequest(id=request_id, raw_input_contents=[payload] if payload else []).SerializeToString()


def answer(message: bytes, payload: bytes = b"") -> bytes:
    """What a model gives to a request: the id, and more."""
    request_id = ModelInferRequest.FromString(message).id
    return ModelInferResponse(id=request_id, raw_output_contents=[payload] if payload else []).SerializeToString()


class Conversation:
    """One open stream.

    Args:
        channel: Connection to the server.
        path: Full name of the method.
        options: Of the call.
    """

    def __init__(self, channel: Any, path: str = STREAM_METHOD, **options: Any) -> None:
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        options.setdefault("timeout", BOUND_S)
        self.call: Any = channel.stream_stream(path)(iter(self._messages.get, None), **options)

    def send(self, *messages: bytes) -> None:
        """Send; does not wait."""
        for message in messages:
            self._messages.put(message)

    def half_close(self) -> None:
        """Send nothing more."""
        self._messages.put(None)

    def read(self) -> ModelStreamInferResponse:
        """The next answer; waits for it."""
        return ModelStreamInferResponse.FromString(next(self.call))

    def ids(self, count: int) -> list[str]:
        """Ids of the next answers, all of them good."""
        answers = [self.read() for _ in range(count)]
        assert [one.error_message for one in answers] == [""] * count
        assert all(one.infer_response.parameters["triton_final_response"].bool_param for one in answers)
        return [one.infer_response.id for one in answers]

    def rest(self) -> list[ModelStreamInferResponse]:
        """Answers up to the end, which must come, well or badly."""
        answers = []
        try:
            for message in self.call:
                answers.append(ModelStreamInferResponse.FromString(message))  # noqa: PERF401  # what came before a failure
        except grpc.RpcError:
            pass
        return answers

    def code(self) -> grpc.StatusCode:
        """How it ended; waits for the end."""
        code: grpc.StatusCode = self.call.code()
        return code

    def close(self) -> None:
        """End it from this side, if it has not ended."""
        self.call.cancel()
        self.half_close()  # Lets grpc's sending thread go.


@contextmanager
def conversing(transport: Transport, **options: Any) -> Iterator[Conversation]:
    """A stream that is gone at the end."""
    conversation = Conversation(transport.channel, **options)
    try:
        yield conversation
    finally:
        conversation.close()
