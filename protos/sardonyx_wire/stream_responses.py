"""Encodes the ``ModelStreamInferResponse`` messages that carry a response or an error.

Nothing is parsed. An embedded message is its own bytes after a tag and a length, and protobuf allows a map entry after
all other fields. Tests compare the result with protobuf's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.messages import ModelInferResponse, ModelStreamInferResponse
from sardonyx_wire.protobuf_fields import ID_TAG, MAX_FIELDS, MessageParts, encode_id, encode_length, read_varint, tag

if TYPE_CHECKING:
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["request_id", "stream_error", "stream_response"]

# ModelStreamInferResponse.infer_response.
_INFER_RESPONSE: Final = bytes((tag(2),))

# Wire types (protobuf encoding, section "Message Structure") and the lengths of those that have a fixed one.
_VARINT: Final = 0
_DELIMITED: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}


def _final_field() -> bytes:
    response = ModelInferResponse()
    response.parameters["triton_final_response"].bool_param = True
    return response.SerializeToString()


_FINAL: Final = _final_field()


def stream_response(message: EncodedMessage) -> bytes:
    """Wrap a response, and mark it as the final one for its request.

    Args:
        message: A serialised ``ModelInferResponse``.

    Returns:
        A serialised ``ModelStreamInferResponse``. The message is copied once.
    """
    parts = message.parts if isinstance(message, MessageParts) else (message,)
    return b"".join((_INFER_RESPONSE, encode_length(len(message) + len(_FINAL)), *parts, _FINAL))


def stream_error(text: str, id_text: str) -> bytes:
    """Encode the error of one request. The stream stays open.

    Args:
        text: The message for people. Not empty: an empty one means success.
        id_text: The id of the request; "" where it has none.
    """
    return ModelStreamInferResponse(error_message=text).SerializeToString() + stream_response(encode_id(id_text))


def request_id(message: bytes | memoryview) -> str:
    """Find the id of a request that failed, without parsing the rest of it.

    Args:
        message: What the client sent as a ``ModelInferRequest``. May be any bytes.

    Returns:
        The id; "" where there is none, or where the message is malformed or has too many fields.
    """
    found = b""
    position, stop = 0, len(message)
    try:
        for _ in range(MAX_FIELDS):
            if position >= stop:
                break
            field, position = read_varint(message, position)
            kind = field & 7
            if kind == _DELIMITED:
                length, position = read_varint(message, position)
                if field == ID_TAG:
                    found = bytes(message[position : position + length])
                position += length
            elif kind == _VARINT:
                _, position = read_varint(message, position)
            else:
                position += _FIXED_BYTES[kind]
        return found.decode() if position == stop else ""
    except (IndexError, KeyError, UnicodeDecodeError):
        return ""
