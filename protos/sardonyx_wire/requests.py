"""Bytes of a ``ModelInferRequest`` -> header, id and views of the payloads. Does not judge: the signature check does.

Requests of one client repeat everything but the payload and the id. So the reader walks only the top-level fields of
the message, cuts out the id and the payloads, and looks the remaining bytes up in a bounded memo of parsed headers.
What it does not recognise (fields out of order, an id sent twice, unknown fields, typed contents, malformed bytes) is
parsed by protobuf itself, in ``decode_with_protobuf``: the slow twin, which property tests hold equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sardonyx_wire.messages import ModelInferRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_wire.messages import InferParameter, InferTensorContents

__all__ = [
    "Header",
    "InputHeader",
    "MalformedMessage",
    "OutputHeader",
    "ParameterValue",
    "RequestReader",
    "decode_with_protobuf",
]

ParameterValue = bool | int | str | float

# Wire tags of ModelInferRequest: field number << 3 | wire type 2 (length-delimited).
_ID: Final = 3 << 3 | 2
_RAW: Final = 7 << 3 | 2
_HEADER: Final = frozenset(number << 3 | 2 for number in (1, 2, 4, 5, 6))

# The caller chooses the memo's keys, so both their size and their number are bounded: 1,024 x 4 KiB = 4 MiB at most.
_MEMO_KEY_BYTES: Final = 4096
_MEMO_ENTRIES: Final = 1024

# Far above what any model has.
_MAX_ENTRIES: Final = 4096

# Ten varint bytes hold 64 bits; a length never needs more than five (2 GiB).
_LENGTH_BYTES: Final = 5


class MalformedMessage(ValueError):
    """The bytes are no ``ModelInferRequest``, or one with far too many entries: then ``field`` names them."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InputHeader:
    """One ``InferInputTensor`` without its raw data.

    Attributes:
        name: Name of the input.
        datatype: As sent, not yet checked.
        shape: As sent, not yet checked: any 64-bit integers.
        parameters: As sent.
        contents: Typed data, or None where the input carries none.
    """

    __slots__ = ("contents", "datatype", "name", "parameters", "shape")

    def __init__(
        self,
        *,
        name: str,
        datatype: str,
        shape: tuple[int, ...],
        parameters: dict[str, ParameterValue],
        contents: InferTensorContents | None,
    ) -> None:
        self.name = name
        self.datatype = datatype
        self.shape = shape
        self.parameters = parameters
        self.contents = contents


class OutputHeader:
    """One ``InferRequestedOutputTensor``."""

    __slots__ = ("name", "parameters")

    def __init__(self, *, name: str, parameters: dict[str, ParameterValue]) -> None:
        self.name = name
        self.parameters = parameters


class Header:
    """All of a request but its id and raw payloads. Shared by every request with the same header bytes: never changed.

    Attributes:
        route: (model name, version as sent); the version is "" where the caller leaves the choice to the server.
        parameters: Request parameters.
        inputs: In the order sent.
        outputs: Requested outputs in the order sent; empty means all.
        plan: Room for the reader's one consumer to remember what it concluded from this header.
    """

    __slots__ = ("inputs", "outputs", "parameters", "plan", "route")

    def __init__(
        self,
        *,
        route: tuple[str, str],
        parameters: dict[str, ParameterValue],
        inputs: tuple[InputHeader, ...],
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
    """Reads requests, remembering headers. Not thread-safe: one reader for each reading thread."""

    __slots__ = ("_memo",)

    def __init__(self) -> None:
        self._memo: dict[bytes, Header] = {}

    def decode(self, message: bytes) -> Decoded:
        """Read one message.

        Args:
            message: A serialised ``ModelInferRequest``. The payloads returned are views into it.

        Returns:
            The header, the id as the bytes of its wire field (they are the same field in the response), and one view
            for each ``raw_input_contents`` entry.

        Raises:
            MalformedMessage: The bytes cannot be parsed.
        """
        payloads: list[memoryview] = []
        id_start = id_stop = 0
        header_stop = position = 0
        stop = len(message)
        view = memoryview(message)
        try:
            while position < stop:
                tag = message[position]
                length = message[position + 1]
                start = position + 2
                if length > 127:
                    length, start = _long_length(message, position + 1)
                end = start + length
                if end > stop:
                    return decode_with_protobuf(message)
                if tag == _RAW:
                    payloads.append(view[start:end])
                elif payloads:
                    return decode_with_protobuf(message)
                elif tag in _HEADER:
                    header_stop = end
                elif tag == _ID and not id_stop:
                    str(view[start:end], "utf-8")
                    id_start, id_stop = position, end
                    header_stop = end
                else:
                    return decode_with_protobuf(message)
                position = end
        except (IndexError, UnicodeDecodeError):
            return decode_with_protobuf(message)
        key = message[:id_start] + message[id_stop:header_stop] if id_stop else message[:header_stop]
        header = self._memo.get(key)
        if header is None:
            header = self._parse_header(key)
        return header, message[id_start:id_stop], payloads

    def _parse_header(self, key: bytes) -> Header:
        header = _to_header(_parse(key))
        if len(key) <= _MEMO_KEY_BYTES and all(tensor.contents is None for tensor in header.inputs):
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            self._memo[key] = header
        return header


def decode_with_protobuf(message: bytes) -> Decoded:
    """Read one message with protobuf alone. Same contract as :meth:`RequestReader.decode`; copies the payloads."""
    parsed = _parse(message)
    encoded_id = parsed.id.encode()
    id_field = bytes((_ID,)) + encode_length(len(encoded_id)) + encoded_id if encoded_id else b""
    return _to_header(parsed), id_field, [memoryview(payload) for payload in parsed.raw_input_contents]


def encode_length(value: int) -> bytes:
    """Varint of a length (protobuf encoding, section "Base 128 Varints")."""
    if value < 128:
        return bytes((value,))
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _long_length(message: bytes, start: int) -> tuple[int, int]:
    """Varint at ``start`` -> (value, position after it). Raises IndexError where it does not end in time."""
    value = 0
    for index in range(_LENGTH_BYTES):
        byte = message[start + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, start + index + 1
    raise IndexError(start)


def _parse(data: bytes) -> ModelInferRequest:
    try:
        return ModelInferRequest.FromString(data)
    except DecodeError as error:
        raise MalformedMessage("the message is not a valid inference.ModelInferRequest") from error


def _to_header(message: ModelInferRequest) -> Header:
    # A message of some megabytes holds a million of these, and each would become an object.
    for field, count in (("inputs", len(message.inputs)), ("outputs", len(message.outputs))):
        if count > _MAX_ENTRIES:
            raise MalformedMessage(f"{field}: expected at most {_MAX_ENTRIES} entries, got {count}", field=field)
    return Header(
        route=(message.model_name, message.model_version),
        parameters=_parameters(message.parameters),
        inputs=tuple(
            InputHeader(
                name=tensor.name,
                datatype=tensor.datatype,
                shape=tuple(tensor.shape),
                parameters=_parameters(tensor.parameters),
                contents=tensor.contents if tensor.HasField("contents") else None,
            )
            for tensor in message.inputs
        ),
        outputs=tuple(
            OutputHeader(name=tensor.name, parameters=_parameters(tensor.parameters)) for tensor in message.outputs
        ),
    )


def _parameters(parameters: Mapping[str, InferParameter]) -> dict[str, ParameterValue]:
    """Values by name; a parameter with no value set is dropped, as protobuf cannot tell it from a default."""
    values: dict[str, ParameterValue] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values
