"""Decodes a ``ModelInferResponse`` into header, id and views of the payloads. Validates nothing: the client does.

The counterpart of request_reader.py for the client: responses of one model differ only in the payloads and the id, so
headers are cached. Unusual messages are parsed by protobuf: the slow equivalent, with which property tests compare it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sardonyx_wire.messages import ModelInferResponse
from sardonyx_wire.protobuf_fields import TooManyFields, encode_id, split, tag
from sardonyx_wire.request_reader import MalformedMessage, TensorHeader, read_parameters

if TYPE_CHECKING:
    from sardonyx_wire.request_reader import ParameterValue

__all__ = ["ResponseHeader", "ResponseReader", "decode_response_with_protobuf"]

_RAW_TAG: Final = tag(6)
_HEADER_TAGS: Final = frozenset(map(tag, (1, 2, 4, 5)))

# A server whose responses all differ must not fill the memory of its clients.
_MEMO_KEY_BYTES: Final = 4096
_MEMO_ENTRIES: Final = 256


class ResponseHeader:
    """All of a response except id and raw payloads. Shared by responses with the same header bytes, so never modified.

    Attributes:
        model_name: As sent.
        model_version: As sent.
        parameters: Response parameters.
        outputs: In the order sent.
        plan: Cache slot for the one consumer of the reader: what it derived from this header.
    """

    __slots__ = ("model_name", "model_version", "outputs", "parameters", "plan")

    def __init__(
        self,
        *,
        model_name: str,
        model_version: str,
        parameters: dict[str, ParameterValue],
        outputs: tuple[TensorHeader, ...],
    ) -> None:
        self.model_name = model_name
        self.model_version = model_version
        self.parameters = parameters
        self.outputs = outputs
        self.plan: object = None


# (header, wire bytes of the id field or b"", payloads in output order: views into the message, read-only)
DecodedResponse = tuple[ResponseHeader, bytes, list[memoryview]]


class ResponseReader:
    """Decodes responses and caches headers. Thread-safe."""

    __slots__ = ("_memo",)

    def __init__(self) -> None:
        self._memo: dict[bytes, ResponseHeader] = {}

    def decode(self, message: bytes | memoryview) -> DecodedResponse:
        """Decode one message.

        Args:
            message: A serialised ``ModelInferResponse``; a memoryview must be one of single bytes, and read-only. The
                payloads returned are views into it.

        Raises:
            MalformedMessage: The bytes cannot be parsed.
        """
        try:
            parts = split(message, header_tags=_HEADER_TAGS, raw_tag=_RAW_TAG)
        except TooManyFields as error:
            raise MalformedMessage(str(error)) from error
        if parts is None:
            return decode_response_with_protobuf(bytes(message))
        key, id_field, payloads = parts
        header = self._memo.get(key)
        if header is None:
            header = _to_header(_parse(key))
            if len(key) <= _MEMO_KEY_BYTES and all(output.contents is None for output in header.outputs):
                if len(self._memo) >= _MEMO_ENTRIES:
                    self._memo.clear()
                self._memo[key] = header
        return header, id_field, payloads


def decode_response_with_protobuf(message: bytes) -> DecodedResponse:
    """Decode with protobuf alone. Same contract as :meth:`ResponseReader.decode`, but copies the payloads."""
    parsed = _parse(message)
    return _to_header(parsed), encode_id(parsed.id), [memoryview(payload) for payload in parsed.raw_output_contents]


def _parse(data: bytes) -> ModelInferResponse:
    try:
        return ModelInferResponse.FromString(data)
    except DecodeError as error:
        raise MalformedMessage("the message is not a valid inference.ModelInferResponse") from error


def _to_header(message: ModelInferResponse) -> ResponseHeader:
    return ResponseHeader(
        model_name=message.model_name,
        model_version=message.model_version,
        parameters=read_parameters(message.parameters),
        outputs=tuple(map(TensorHeader, message.outputs)),
    )
