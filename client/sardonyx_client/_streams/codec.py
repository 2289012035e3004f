"""Decodes the messages of a stream: a response, or the error of one request. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from sardonyx_client._errors import BadResponse, ServerFault
from sardonyx_wire.messages import ModelStreamInferResponse

if TYPE_CHECKING:
    from sardonyx_client._core import Core
    from sardonyx_client._values import Result

__all__ = ["decode_stream_answer"]


def decode_stream_answer(core: Core, message: bytes) -> Result:
    """One message of a stream -> result.

    Raises:
        ServerFault: The request failed; the stream continues. The protocol carries the error's text, but no status.
        BadResponse: The message violates the protocol.
    """
    try:
        answer = ModelStreamInferResponse.FromString(message)
    except DecodeError as error:
        raise BadResponse("the answer is no inference.ModelStreamInferResponse") from error
    if answer.error_message:
        failure = ServerFault(answer.error_message)
        failure.request_id = answer.infer_response.id
        raise failure
    return core.decode(answer.infer_response.SerializeToString())
