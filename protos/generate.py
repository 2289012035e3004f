"""Writes what is made from the .proto files: ``inference.binpb`` (descriptors) and ``messages.pyi`` (types).

    python protos/generate.py           write both files
    python protos/generate.py --check   write nothing; exit 1, naming the files that differ byte for byte

Needs grpcio-tools, for its protoc. What it writes does not depend on the version of it: no source positions go in.
"""

from __future__ import annotations

import argparse
import keyword
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

PROTOS = Path(__file__).parent
WIRE = PROTOS / "sardonyx_wire"
SOURCES = ("inference/model_config.proto", "inference/grpc_service.proto")
# What stands in the stubs before the messages: types of what messages.py has beside them.
HEAD = PROTOS / "messages.pyi.head"

SCALARS = {
    FieldDescriptor.CPPTYPE_BOOL: "bool",
    FieldDescriptor.CPPTYPE_DOUBLE: "float",
    FieldDescriptor.CPPTYPE_FLOAT: "float",
    FieldDescriptor.CPPTYPE_INT32: "int",
    FieldDescriptor.CPPTYPE_INT64: "int",
    FieldDescriptor.CPPTYPE_UINT32: "int",
    FieldDescriptor.CPPTYPE_UINT64: "int",
    FieldDescriptor.CPPTYPE_ENUM: "int",
}


def compile_descriptors() -> bytes:
    """Run protoc; the files that others import come first in the set."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set.binpb"
        status = protoc.main(["protoc", f"-I{PROTOS}", f"--descriptor_set_out={target}", *SOURCES])
        if status:
            raise SystemExit(f"protoc failed with status {status}")
        return target.read_bytes()


def render_stubs(descriptors: bytes) -> str:
    """``messages.pyi`` for the files of a serialised FileDescriptorSet."""
    pool = descriptor_pool.DescriptorPool()
    names: list[str] = []
    for encoded in FileDescriptorSet.FromString(descriptors).file:
        pool.AddSerializedFile(encoded.SerializeToString())
        names.append(encoded.name)
    files = [pool.FindFileByName(name) for name in names]
    exported = sorted([*_top_level(files), "METHODS", "POOL", "SERVICE", "Method"])
    lines = [HEAD.read_text("utf-8"), "__all__ = [", *(f'    "{name}",' for name in exported), "]", ""]
    for file in files:
        for enum in file.enum_types_by_name.values():
            lines += [*_enum(enum), ""]
        for message in file.message_types_by_name.values():
            lines += [*_message(message), ""]
    return "\n".join(lines)


def _top_level(files: Iterable[FileDescriptor]) -> Iterator[str]:
    for file in files:
        yield from file.enum_types_by_name
        yield from file.message_types_by_name


def _enum(enum: EnumDescriptor) -> Iterator[str]:
    """A top-level enum is one name in messages.py; a nested one is a name and its values in its message."""
    if enum.containing_type is None:
        yield f"{enum.name}: Final[_Enum]"
        return
    yield f"{enum.name}: ClassVar[_Enum]"
    for value in enum.values:
        yield f"{value.name}: Final = {value.number}"


def _message(message: Descriptor) -> Iterator[str]:
    yield f"class {message.name}(_Message):"
    yield from ("    " + line for line in _body(message))


def _body(message: Descriptor) -> Iterator[str]:
    for enum in message.enum_types:
        yield from _enum(enum)
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from _message(nested)
    # ModelRateLimiter.Resource.global is a keyword of Python: getattr reaches it, but a stub cannot name it.
    fields = [field for field in message.fields if not keyword.iskeyword(field.name)]
    for field in fields:
        yield from _field(field)
    if not fields:
        yield "def __init__(self) -> None: ..."
        return
    yield "def __init__("
    yield "    self,"
    yield "    *,"
    yield from (f"    {field.name}: {_accepted(field)} | None = ...," for field in fields)
    yield ") -> None: ..."
    present = [field.name for field in fields if field.has_presence]
    if present:
        yield f"def HasField(self, field_name: {_literal([*present, *_oneofs(message)])}) -> bool: ..."
    for oneof in message.oneofs:
        choices = _literal([field.name for field in oneof.fields])
        yield f"def WhichOneof(self, oneof_group: {_literal([oneof.name])}) -> {choices} | None: ..."


def _field(field: FieldDescriptor) -> Iterator[str]:
    singular_scalar = not _is_repeated(field) and field.message_type is None
    if singular_scalar:
        yield f"{field.name}: {_scalar(field)}"
    else:
        yield "@property"
        yield f"def {field.name}(self) -> {_held(field)}: ..."


def _held(field: FieldDescriptor) -> str:
    """Type of a message, repeated or map field when it is read."""
    entry = _map_entry(field)
    if entry is not None:
        key, value = entry
        kind = "_Map" if value.message_type is None else "_MessageMap"
        return f"{kind}[{_scalar(key)}, {_single(value)}]"
    if not _is_repeated(field):
        return _single(field)
    kind = "_Repeated" if field.message_type is None else "_RepeatedMessage"
    return f"{kind}[{_single(field)}]"


def _accepted(field: FieldDescriptor) -> str:
    """Type of a field's argument to the constructor."""
    entry = _map_entry(field)
    if entry is not None:
        key, value = entry
        return f"Mapping[{_scalar(key)}, {_single(value)}]"
    single = _single(field)
    if field.enum_type is not None:
        single += " | str"
    elif field.message_type is not None:
        single += " | Mapping[str, Any]"
    return f"Iterable[{single}]" if _is_repeated(field) else single


def _single(field: FieldDescriptor) -> str:
    if field.message_type is None:
        return _scalar(field)
    full_name: str = field.message_type.full_name
    return full_name.removeprefix(f"{field.message_type.file.package}.")


def _scalar(field: FieldDescriptor) -> str:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "bytes"
    return SCALARS.get(field.cpp_type, "str")


def _map_entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor] | None:
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["key"], entry.fields_by_name["value"]


def _is_repeated(field: FieldDescriptor) -> bool:
    # is_repeated is new in protobuf 6.31 and label gone in 7; default_value is a list in all.
    return isinstance(field.default_value, Sequence) and not isinstance(field.default_value, str | bytes)


def _oneofs(message: Descriptor) -> list[str]:
    return [oneof.name for oneof in message.oneofs]


def _literal(names: Iterable[str]) -> str:
    return f"Literal[{', '.join(repr(name) for name in names)}]".replace("'", '"')


def update(*, check: bool, wire: Path = WIRE) -> int:
    """Write both files into ``wire``, or only compare. Returns the exit status."""
    descriptors = compile_descriptors()
    status = 0
    for name, content in (("inference.binpb", descriptors), ("messages.pyi", render_stubs(descriptors).encode())):
        path = wire / name
        if not check:
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            print(f"protos/sardonyx_wire/{name} differs from the .proto files: run `make protos`", file=sys.stderr)
            status = 1
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check, as the command line says. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Write what is made from the .proto files.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a committed file differs")
    check: bool = parser.parse_args(arguments).check
    return update(check=check)


if __name__ == "__main__":
    raise SystemExit(main())
