"""Parses the few parts of an ONNX file that tell its inputs, outputs and outside files. Judges nothing, runs nothing.

The messages are a subset of ONNX's (names and numbers are facts of the format: onnx/onnx.proto), made by hand into a
private descriptor pool, so that protobuf parses without the ``onnx`` package. A model is mostly weights, and protobuf
would copy every field that it does not know; ``prune`` leaves them out first, without a copy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from sardonyx_wire.protobuf_fields import encode_length, read_varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MESSAGES", "Field", "MalformedModelError", "parse_model", "prune", "walk"]

Field: TypeAlias = tuple[int, int, int, int]
"""(key, where the field begins, where its contents begin, where it ends); the key is ``number << 3 | wire type``."""

_PACKAGE: Final = "sardonyx_onnx"
# Field names end in [] where repeated. Text is "bytes" here: files hold anything, and whoever reads it decodes it.
_MESSAGES: Final[Mapping[str, Mapping[str, tuple[int, str]]]] = {
    "ModelProto": {
        "ir_version": (1, "int64"),
        "graph": (7, "GraphProto"),
        "opset_import[]": (8, "OperatorSetIdProto"),
        "functions[]": (25, "FunctionProto"),
    },
    "OperatorSetIdProto": {"domain": (1, "bytes"), "version": (2, "int64")},
    "StringStringEntryProto": {"key": (1, "bytes"), "value": (2, "bytes")},
    "FunctionProto": {"node[]": (7, "NodeProto"), "attribute_proto[]": (11, "AttributeProto")},
    "GraphProto": {
        "node[]": (1, "NodeProto"),
        "initializer[]": (5, "TensorProto"),
        "input[]": (11, "ValueInfoProto"),
        "output[]": (12, "ValueInfoProto"),
        "sparse_initializer[]": (15, "SparseTensorProto"),
    },
    "NodeProto": {
        "input[]": (1, "bytes"),
        "output[]": (2, "bytes"),
        "op_type": (4, "bytes"),
        "attribute[]": (5, "AttributeProto"),
        "domain": (7, "bytes"),
    },
    # The same, with the attributes that ZipMap has. Of other nodes these are weights.
    "ZipMapProto": {"attribute[]": (5, "KeysProto")},
    "KeysProto": {"name": (1, "bytes"), "ints[]": (8, "int64"), "strings[]": (9, "bytes")},
    "AttributeProto": {
        "t": (5, "TensorProto"),
        "g": (6, "GraphProto"),
        "tensors[]": (10, "TensorProto"),
        "graphs[]": (11, "GraphProto"),
        "sparse_tensor": (22, "SparseTensorProto"),
        "sparse_tensors[]": (23, "SparseTensorProto"),
    },
    "TensorProto": {
        "name": (8, "bytes"),
        "external_data[]": (13, "StringStringEntryProto"),
        "data_location": (14, "int64"),  # an enum; as a number, so that values of later versions survive
    },
    "SparseTensorProto": {"values": (1, "TensorProto"), "indices": (2, "TensorProto")},
    "ValueInfoProto": {"name": (1, "bytes"), "type": (2, "TypeProto")},
    "TypeProto": {
        "tensor_type": (1, "TensorTypeProto"),
        "sequence_type": (4, "HolderProto"),
        "map_type": (5, "OpaqueProto"),
        "opaque_type": (7, "OpaqueProto"),
        "sparse_tensor_type": (8, "OpaqueProto"),
        "optional_type": (9, "HolderProto"),
    },
    "TensorTypeProto": {"elem_type": (1, "int64"), "shape": (2, "TensorShapeProto")},
    "HolderProto": {"elem_type": (1, "TypeProto")},
    "OpaqueProto": {},
    "TensorShapeProto": {"dim[]": (1, "DimensionProto")},
    "DimensionProto": {"dim_value": (1, "int64"), "dim_param": (2, "bytes")},
}

# Of one node, a forest has as many as it has branches: numbers that are not packed, and short texts. In Python each
# takes 0.7 us, of a forest of 10 MB 2.3 s; so it is 0.08 s (2026-11-26). Possessive, or a match would remember each.
_SHORT_TEXT: Final = b"|".join(rb"\x%02x.{%d}" % (size, size) for size in range(32))
_RUNS: Final[Mapping[str, re.Pattern[bytes]]] = {
    # Its floats, ints and strings.
    "AttributeProto": re.compile(
        rb"(?:\x3d.{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f]|\x4a(?:%s))*+" % _SHORT_TEXT, re.DOTALL
    ),
}
# Of one match, which keeps the interpreter's lock: 0.1 ms.
_RUN_BYTES: Final = 16 * 1024

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
# protobuf's own limit on nesting.
_MAX_DEPTH: Final = 100
# Below that many bytes a message is left to protobuf, unknown fields and all: it is faster than a loop here.
_SMALL_BYTES: Final = 512


class MalformedModelError(ValueError):
    """The bytes are no ONNX model. Whoever knows the file's name says so in words."""


def _make_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2")
    field_proto = descriptor_pb2.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for declared, (number, kind) in fields.items():
            label = field_proto.LABEL_REPEATED if declared.endswith("[]") else field_proto.LABEL_OPTIONAL
            field = message.field.add(name=declared.removesuffix("[]"), number=number, label=label)
            if kind in _MESSAGES:
                field.type, field.type_name = field_proto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = field_proto.TYPE_INT64 if kind == "int64" else field_proto.TYPE_BYTES
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


MESSAGES: Final = _make_classes()
"""Name -> class of each message of the subset."""

# Message -> field number -> message in that field, or None where it holds something else.
_CHILDREN: Final[Mapping[str, Mapping[int, str | None]]] = {
    name: {number: kind if kind in _MESSAGES else None for number, kind in fields.values()}
    for name, fields in _MESSAGES.items()
}


def parse_model(data: bytes | memoryview) -> Any:
    """Bytes of an ONNX file -> ModelProto of the subset.

    Raises:
        MalformedModelError: They are no protobuf message of that form.
    """
    try:
        return MESSAGES["ModelProto"].FromString(prune(data))
    except DecodeError as error:
        raise MalformedModelError(str(error)) from error


def prune(data: bytes | memoryview, *, small_bytes: int = _SMALL_BYTES) -> bytes:
    """The same model without the fields that the subset does not have (weights above all).

    Args:
        data: Bytes of an ONNX file; read in place.
        small_bytes: Messages up to that size are kept as they are, with all their fields.

    Raises:
        MalformedModelError: A field is cut off, has an impossible key, or lies 100 levels deep.
    """
    return _prune(data, 0, len(data), "ModelProto", small_bytes, 0)


def _prune(data: bytes | memoryview, position: int, end: int, message: str, small_bytes: int, depth: int) -> bytes:
    if depth > _MAX_DEPTH:
        raise MalformedModelError("nested too deeply")
    children = _CHILDREN[message]
    kept: list[bytes | memoryview] = []
    for key, begin, start, stop in walk(data, position, end, without=_RUNS.get(message)):
        number = key >> 3
        if number not in children:
            continue
        child = children[number]
        if child is None or key & 7 != _DELIMITED or stop - start <= small_bytes:
            kept.append(data[begin:stop])
        else:
            part = _prune(data, start, stop, child, small_bytes, depth + 1)
            kept += [encode_length(key), encode_length(len(part)), part]
    return b"".join(kept)


def walk(
    data: bytes | memoryview, position: int, end: int, *, without: re.Pattern[bytes] | None = None
) -> Iterator[Field]:
    """The fields of the message that lies between two positions.

    Args:
        data: Holds it.
        position: Where it begins.
        end: Where it ends.
        without: Matches a run of whole fields, maybe none, that are passed over.

    Raises:
        MalformedModelError: A field is cut off, or has an impossible key.
    """
    while position < end:
        if without is not None:
            run = without.match(data, position, min(end, position + _RUN_BYTES))
            if run is not None and run.end() > position:
                position = run.end()
                continue
        begin = position
        try:
            key, position = read_varint(data, position)
            wire = key & 7
            if wire == _DELIMITED:
                length, position = read_varint(data, position)
                stop = position + length
            elif wire == _VARINT:
                _, stop = read_varint(data, position)
            elif wire == _FIXED64:
                stop = position + 8
            elif wire == _FIXED32:
                stop = position + 4
            else:
                # Groups: no exporter writes them.
                raise MalformedModelError(f"field of wire type {wire}")
        except IndexError as error:
            raise MalformedModelError("number beyond the end") from error
        if stop > end or key >> 3 == 0:
            raise MalformedModelError("field beyond the end" if key >> 3 else "field number 0")
        yield key, begin, position, stop
        position = stop
