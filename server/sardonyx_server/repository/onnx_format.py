"""A minimal ONNX parser: reads only the parts of a file that declare inputs, outputs and external data.

The messages are a subset of onnx/onnx.proto, declared by hand in a private descriptor pool, so that protobuf can parse
them without the ``onnx`` package. A model consists mostly of weights, and protobuf would copy every unknown field;
``prune`` drops them first, without a copy.
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
"""(key, start of the field, start of its contents, end); the key is ``number << 3 | wire type``."""

_PACKAGE: Final = "sardonyx_onnx"
# Repeated fields end in []. Strings are "bytes" here: files may contain anything, and the reader decodes them.
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
    # A NodeProto with the attributes of ZipMap. In other nodes these fields are weights.
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

# A node of a decision forest has one such field per branch: unpacked numbers and short strings. A Python loop takes
# 0.7 us for each, 2.3 s for a forest of 10 MB; this regular expression takes 0.08 s (2026-11-26). The quantifier is
# possessive, so that no backtracking positions are stored.
_SHORT_TEXT: Final = b"|".join(rb"\x%02x.{%d}" % (size, size) for size in range(32))
_RUNS: Final[Mapping[str, re.Pattern[bytes]]] = {
    # Its floats, ints and strings.
    "AttributeProto": re.compile(
        rb"(?:\x3d.{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f]|\x4a(?:%s))*+" % _SHORT_TEXT, re.DOTALL
    ),
}
# Limit of one match, which holds the GIL: 0.1 ms.
_RUN_BYTES: Final = 16 * 1024

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
# protobuf's own limit on nesting.
_MAX_DEPTH: Final = 100
# Smaller messages are parsed by protobuf including unknown fields, which is faster than a Python loop.
_SMALL_BYTES: Final = 512


class MalformedModelError(ValueError):
    """The bytes are not an ONNX model. The caller adds the name of the file to the message."""


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

# Message -> field number -> message type of that field; None if it is a scalar.
_CHILDREN: Final[Mapping[str, Mapping[int, str | None]]] = {
    name: {number: kind if kind in _MESSAGES else None for number, kind in fields.values()}
    for name, fields in _MESSAGES.items()
}


def parse_model(data: bytes | memoryview) -> Any:
    """Bytes of an ONNX file -> ModelProto of the subset.

    Raises:
        MalformedModelError: They are not such a protobuf message.
    """
    try:
        return MESSAGES["ModelProto"].FromString(prune(data))
    except DecodeError as error:
        raise MalformedModelError(str(error)) from error


def prune(data: bytes | memoryview, *, small_bytes: int = _SMALL_BYTES) -> bytes:
    """The model without fields that are not in the subset (mostly weights).

    Args:
        data: Bytes of an ONNX file; read in place.
        small_bytes: Messages up to this size are kept with all their fields.

    Raises:
        MalformedModelError: A field is truncated, has an invalid key, or is nested 100 levels deep.
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
    """The fields of the message between two positions.

    Args:
        data: Contains the message.
        position: Its start.
        end: Its end.
        without: Matches a run of zero or more complete fields to skip.

    Raises:
        MalformedModelError: A field is truncated, or has an invalid key.
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
                # Groups, which no exporter writes.
                raise MalformedModelError(f"field of wire type {wire}")
        except IndexError as error:
            raise MalformedModelError("number beyond the end") from error
        if stop > end or key >> 3 == 0:
            raise MalformedModelError("field beyond the end" if key >> 3 else "field number 0")
        yield key, begin, position, stop
        position = stop
