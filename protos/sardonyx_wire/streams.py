"""Bytes of a ``ModelInferResponse``, or of an error -> bytes of the ``ModelStreamInferResponse`` that carries it.

Nothing is parsed: a message that is embedded is its own bytes behind a tag and a length, and a map entry may stand
behind all other fields. Tests hold the result equal to protobuf's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.framing import ID_TAG, MOST_FIELDS, Pieces, encode_id, encode_length, read_varint, tag
from sardonyx_wire.messages import ModelInferResponse, ModelStreamInferResponse

if TYPE_CHECKING:
    from sardonyx_wire.framing import Message

__all__ = ["answer_frame", "error_frame", "request_id"]

# ModelStreamInferResponse.infer_response.
_ANSWER: Final = bytes((tag(2),))

# Wire types (protobuf encoding, section "Message Structure") and the lengths of those that have a fixed one.
_VARINT: Final = 0
_DELIMITED: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}


def _final_field() -> bytes:
    response = ModelInferResponse()
    response.parameters["triton_final_response"].bool_param = True
    return response.SerializeToString()


_FINAL: Final = _final_field()


def answer_frame(message: Message) -> bytes:
    """Wrap an answer, and mark it as the last one to its request.

    Args:
        message: A serialised ``ModelInferResponse``.

    Returns:
        A serialised ``ModelStreamInferResponse``: one copy of the message.
    """
    pieces = message.pieces if isinstance(message, Pieces) else (message,)
    return b"".join((_ANSWER, encode_length(len(message) + len(_FINAL)), *pieces, _FINAL))


def error_frame(text: str, id_text: str) -> bytes:
    """What a stream sends for a request that failed, and stays open.

    Args:
        text: For people; not empty, since an empty one means success.
        id_text: The request's id; "" where it has none.
    """
    return ModelStreamInferResponse(error_message=text).SerializeToString() + answer_frame(encode_id(id_text))


def request_id(message: bytes | memoryview) -> str:
    """The id of a request that failed, without reading the rest of it.

    Args:
        message: What the caller sent as a ``ModelInferRequest``; anything.

    Returns:
        The id; "" where there is none, or where the message is so broken or so long that it cannot be told.
    """
    found = b""
    position, stop = 0, len(message)
    try:
        for _ in range(MOST_FIELDS):
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
