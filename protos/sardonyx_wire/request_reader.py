"""Decodes a ``ModelInferRequest`` into header, id and views of the payloads. Validates nothing: engine/requests/ does.

Requests of one client differ only in the payloads and the id. So the reader splits a message (protobuf_fields.py) and
looks the bytes of its header up in a bounded cache of parsed headers. A message that has the length and the header of
an earlier one is not even split (request_layout.py). Unusual messages (fields out of order, an id sent twice, unknown
fields, typed contents, malformed bytes) are parsed by protobuf, in ``decode_with_protobuf``: the slow equivalent, with
which property tests compare the fast path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.protobuf_fields import TooManyFields, encode_id, peek_header, split, tag
from sardonyx_wire.request_layout import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sized

    from sardonyx_wire.messages import InferParameter, InferTensorContents, ModelInferResponse

__all__ = [
    "Header",
    "MalformedMessage",
    "OutputHeader",
    "ParameterValue",
    "RequestReader",
    "TensorHeader",
    "decode_with_protobuf",
    "read_parameters",
]

ParameterValue = bool | int | str | float

_RAW_TAG: Final = tag(7)
_HEADER_TAGS: Final = frozenset(map(tag, (1, 2, 4, 5, 6)))

# Clients choose the keys of the cache, so both size and number are bounded: 1,024 x 4 KiB = 4 MiB at most.
_MEMO_KEY_BYTES: Final = 4096
_MEMO_ENTRIES: Final = 1024
# Likewise for layouts: each holds the header bytes once more, and some 230 bytes for each payload, which can have as
# few as two bytes in the message.
_LAYOUTS: Final = 256
_LAYOUT_PAYLOADS: Final = 64
# A layout is made for one in so many messages that have none. Where lengths or headers change all the time, a layout
# for each message would cost more than it saves.
_LAYOUT_EVERY: Final = 16
# Bytes in which a header is looked for ahead of the rest. No cached header is longer, unless its id is very long;
# without a bound a client could make us parse any number of fields.
_PEEKED_BYTES: Final = _MEMO_KEY_BYTES + 1024

# Most entries of a repeated field, far more than any model has.
_MAX_ENTRIES: Final = 4096
# Most dimensions that are parsed. Shapes up to here are refused by the check against the model, which tells what it
# takes.
_MAX_DIMENSIONS: Final = 65_536


class MalformedMessage(ValueError):
    """The bytes are not a valid message, or a field has far too many entries: then ``field`` names it."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class TensorHeader:
    """One ``InferInputTensor`` or ``InferOutputTensor`` without its raw data.

    Attributes:
        name: Name of the tensor.
        datatype: As sent, not validated.
        shape: As sent, not validated: any 64-bit integers.
        parameters: As sent.
        contents: Typed data, or None where the tensor carries none.
    """

    __slots__ = ("contents", "datatype", "name", "parameters", "shape")

    def __init__(self, tensor: ModelInferRequest.InferInputTensor | ModelInferResponse.InferOutputTensor) -> None:
        self.name: str = tensor.name
        self.datatype: str = tensor.datatype
        self.shape = tuple(tensor.shape)
        self.parameters = read_parameters(tensor.parameters)
        self.contents: InferTensorContents | None = tensor.contents if tensor.HasField("contents") else None


class OutputHeader:
    """One ``InferRequestedOutputTensor``."""

    __slots__ = ("name", "parameters")

    def __init__(self, *, name: str, parameters: dict[str, ParameterValue]) -> None:
        self.name = name
        self.parameters = parameters


class Header:
    """All of a request except id and raw payloads. Shared by requests with the same header bytes, so never modified.

    Attributes:
        route: (model name, version as sent); the version is "" where the caller leaves the choice to the server.
        parameters: Request parameters.
        inputs: In the order sent.
        outputs: Requested outputs, in the order sent; empty means all.
        plan: Cache slot for the one consumer of the reader: what it derived from this header.
    """

    __slots__ = ("inputs", "outputs", "parameters", "plan", "route")

    def __init__(
        self,
        *,
        route: tuple[str, str],
        parameters: dict[str, ParameterValue],
        inputs: tuple[TensorHeader, ...],
        outputs: tuple[OutputHeader, ...],
    ) -> None:
        self.route = route
        self.parameters = parameters
        self.inputs = inputs
        self.outputs = outputs
        self.plan: object = None


# (header, wire bytes of the id field or b"", payloads in input order: views into the message, read-only)
Decoded = tuple[Header, bytes, list[memoryview]]


class RequestReader:
    """Decodes requests and caches headers. Not thread-safe: each reading thread has its own."""

    __slots__ = ("_layouts", "_memo", "_unknown")

    def __init__(self) -> None:
        self._memo: dict[bytes, Header] = {}
        # By the length of the message.
        self._layouts: dict[int, Layout] = {}
        self._unknown = 0

    def decode(self, message: bytes | memoryview) -> Decoded:
        """Decode one message.

        Args:
            message: A serialised ``ModelInferRequest``. The payloads returned are views into it.

        Returns:
            The header; the wire bytes of the id field, which is the same field in the response; and one view for each
            entry of ``raw_input_contents``.

        Raises:
            MalformedMessage: The bytes cannot be parsed.
        """
        layout = self._layouts.get(len(message))
        if layout is not None and isinstance(message, bytes):
            decoded = layout.read(message)
            if decoded is not None:
                return decoded
        return self._decode(message)

    def _decode(self, message: bytes | memoryview) -> Decoded:
        """As :meth:`decode`, for a message without a known layout."""
        try:
            parts = split(message, header_tags=_HEADER_TAGS, raw_tag=_RAW_TAG)
        except TooManyFields as error:
            raise MalformedMessage(str(error)) from error
        if parts is None:
            return decode_with_protobuf(bytes(message))
        key, id_field, payloads = parts
        header = self._memo.get(key)
        if header is None:
            header = self._parse_header(key)
        elif isinstance(message, bytes) and len(payloads) <= _LAYOUT_PAYLOADS:
            self._unknown += 1
            if not self._unknown % _LAYOUT_EVERY:
                self._learn(message, header)
        return header, id_field, payloads

    def _learn(self, message: bytes, header: Header) -> None:
        """Cache the layout of a message. Requires: its header is cached, and so not long; its payloads are few."""
        if len(self._layouts) >= _LAYOUTS:
            self._layouts.clear()
        self._layouts[len(message)] = Layout(message, header, raw_tag=_RAW_TAG)

    def peek_header(self, beginning: bytes | memoryview) -> Header | None:
        """The header of a message of which only the beginning has arrived; None where it is not cached.

        It is cached if a message with the same header was decoded before and no header field followed its payloads.

        Args:
            beginning: The first bytes of the message, cut at any position.
        """
        key = peek_header(beginning[:_PEEKED_BYTES], header_tags=_HEADER_TAGS, raw_tag=_RAW_TAG)
        return None if key is None else self._memo.get(key)

    def _parse_header(self, key: bytes) -> Header:
        header = _to_header(_parse(key))
        if len(key) <= _MEMO_KEY_BYTES and all(tensor.contents is None for tensor in header.inputs):
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            self._memo[key] = header
        return header


def decode_with_protobuf(message: bytes) -> Decoded:
    """Decode with protobuf alone. Same contract as :meth:`RequestReader.decode`, but copies the payloads."""
    parsed = _parse(message)
    return _to_header(parsed), encode_id(parsed.id), [memoryview(payload) for payload in parsed.raw_input_contents]


def _parse(data: bytes) -> ModelInferRequest:
    try:
        return ModelInferRequest.FromString(data)
    except DecodeError as error:
        raise MalformedMessage("the message is not a valid inference.ModelInferRequest") from error


def _to_header(message: ModelInferRequest) -> Header:
    # A few megabytes can hold a million entries, and each would become an object.
    for field in ("inputs", "outputs", "raw_input_contents", "parameters"):
        _check_count(getattr(message, field), field)
    for index, tensor in enumerate(message.inputs):
        _check_count(tensor.shape, f"inputs[{index}].shape", _MAX_DIMENSIONS)
        _check_count(tensor.parameters, f"inputs[{index}].parameters")
    for index, output in enumerate(message.outputs):
        _check_count(output.parameters, f"outputs[{index}].parameters")
    return Header(
        route=(message.model_name, message.model_version),
        parameters=read_parameters(message.parameters),
        inputs=tuple(map(TensorHeader, message.inputs)),
        outputs=tuple(
            OutputHeader(name=tensor.name, parameters=read_parameters(tensor.parameters)) for tensor in message.outputs
        ),
    )


def _check_count(entries: Sized, field: str, most: int = _MAX_ENTRIES) -> None:
    if len(entries) > most:
        raise MalformedMessage(f"{field}: expected at most {most} entries, got {len(entries)}", field=field)


def read_parameters(parameters: Mapping[str, InferParameter]) -> dict[str, ParameterValue]:
    """Values by name. A parameter without a value is dropped: protobuf cannot tell it from a default."""
    values: dict[str, ParameterValue] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values
