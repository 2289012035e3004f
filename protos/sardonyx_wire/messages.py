"""Message classes of the wire contract, made from ``inference.binpb``. Adds no behaviour to them; speaks no gRPC.

The descriptors live in a pool of their own. Two copies of package ``inference`` in protobuf's default pool raise
``duplicate symbol``, and tritonclient, kserve and mlserver each put one there; so ours stays out of it, and all of
them can be imported beside this module in any order. ``protos/generate.py`` writes the descriptors and the types in
``messages.pyi``.
"""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper
from google.protobuf.message import Message

_PACKAGE: Final = "inference"
# Set in each byte of a varint but the last.
_MORE: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Facts of one RPC.

    Attributes:
        name: Such as ``ModelInfer``.
        path: Name on the wire, such as ``/inference.GRPCInferenceService/ModelInfer``.
        request: Class of what the client sends.
        response: Class of what the server answers.
        client_streaming: Whether the client sends any number of requests.
        server_streaming: Whether the server answers any number of responses.
    """

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool


def _split(encoded: bytes) -> list[bytes]:
    """The files of a serialised ``FileDescriptorSet``: its only field is 1, repeated.

    ``descriptor_pb2`` would do it too, but importing that takes three times as long as the rest of this module.
    """
    files: list[bytes] = []
    position = 0
    while position < len(encoded):
        if encoded[position] != 1 << 3 | 2:
            raise ImportError("inference.binpb is damaged: reinstall sardonyx")
        length = shift = 0
        while True:
            position += 1
            length |= (encoded[position] & 127) << shift
            shift += 7
            if not encoded[position] & _MORE:
                break
        position += 1
        files.append(encoded[position : position + length])
        position += length
    return files


def _load_pool() -> descriptor_pool.DescriptorPool:
    """A pool that holds the files of ``inference.binpb`` and nothing else. Files that others import come first."""
    pool = descriptor_pool.DescriptorPool()
    for file in _split(Path(__file__).with_name("inference.binpb").read_bytes()):
        pool.AddSerializedFile(file)
    return pool


POOL: Final = _load_pool()
SERVICE: Final = f"{_PACKAGE}.GRPCInferenceService"

_FILES = tuple(POOL.FindFileByName(f"{_PACKAGE}/{name}.proto") for name in ("model_config", "grpc_service"))
_MESSAGES = {
    name: message_factory.GetMessageClass(descriptor)
    for file in _FILES
    for name, descriptor in file.message_types_by_name.items()
}
_ENUMS = {
    name: enum_type_wrapper.EnumTypeWrapper(descriptor)
    for file in _FILES
    for name, descriptor in file.enum_types_by_name.items()
}
# One name for each top-level message and enum; messages.pyi lists them, and a test holds the two equal.
globals().update(_MESSAGES, **_ENUMS)

METHODS: Final = MappingProxyType(
    {
        method.name: Method(
            name=method.name,
            path=f"/{SERVICE}/{method.name}",
            request=_MESSAGES[method.input_type.name],
            response=_MESSAGES[method.output_type.name],
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
        )
        for method in POOL.FindServiceByName(SERVICE).methods
    }
)

# Made from the contract, too; messages.pyi spells it out for tools.
__all__ = sorted(  # noqa: PLE0605
    [*_MESSAGES, *_ENUMS, "METHODS", "POOL", "SERVICE", "Method"]  # pyright: ignore[reportUnsupportedDunderAll]
)
