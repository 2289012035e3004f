"""Message classes of the wire contract, built from ``inference.binpb``. Adds no behaviour to them; knows no gRPC.

The descriptors are in a pool of their own. A second copy of package ``inference`` in protobuf's default pool raises
``duplicate symbol``, and tritonclient, kserve and mlserver each add one. Ours stays out of the default pool, so all of
them can be imported together with this module, in any order. ``protos/generate.py`` writes the descriptors and the
types in ``messages.pyi``.
"""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper
from google.protobuf.message import Message

_PACKAGE: Final = "inference"
# Continuation bit: set in each byte of a varint except the last.
_MORE: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Description of one RPC.

    Attributes:
        name: Such as ``ModelInfer``.
        path: Full name on the wire, such as ``/inference.GRPCInferenceService/ModelInfer``.
        request: Class of the request messages.
        response: Class of the response messages.
        client_streaming: Whether the client sends a stream of requests.
        server_streaming: Whether the server sends a stream of responses.
    """

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool


def _split(encoded: bytes) -> list[bytes]:
    """Split a serialised ``FileDescriptorSet`` into its files: its only field is number 1, repeated.

    ``descriptor_pb2`` could do this, but importing it takes three times as long as the rest of this module.
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
    """Make a pool with the files of ``inference.binpb`` and nothing else. Imported files come first in it."""
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
# One name for each top-level message and enum. messages.pyi lists them, and a test keeps the two in step.
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

# Built from the contract as well; messages.pyi lists the names for tools.
__all__ = sorted(  # noqa: PLE0605
    [*_MESSAGES, *_ENUMS, "METHODS", "POOL", "SERVICE", "Method"]  # pyright: ignore[reportUnsupportedDunderAll]
)
