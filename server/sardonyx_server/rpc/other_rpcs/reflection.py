"""Answers gRPC server reflection, for tools such as grpcurl. Registers nothing with grpc.

Our descriptors are not in protobuf's default pool (see sardonyx_wire.messages), so reflection has a pool of its own
with every service of this server. Both versions of the protocol are served, ``grpc.reflection.v1`` and the older
``v1alpha``: their messages have the same encoding and differ only in the package; grpcio-reflection has the older one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import ReflectionServicer

from sardonyx_wire.messages import POOL, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

__all__ = ["HEALTH_SERVICE", "REFLECTION_SERVICES", "SERVICES", "Reflection", "served_descriptors"]

HEALTH_SERVICE: Final = "grpc.health.v1.Health"
REFLECTION_SERVICES: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
SERVICES: Final = (SERVICE, HEALTH_SERVICE, *REFLECTION_SERVICES)
"""Full name of every service of this server."""

_V1ALPHA: Final = "grpc.reflection.v1alpha"
_V1: Final = "grpc.reflection.v1"


class Reflection:
    """Answers reflection requests. Any thread; several streams at once."""

    __slots__ = ("_servicer",)

    def __init__(self) -> None:
        self._servicer = ReflectionServicer(SERVICES, pool=served_descriptors())

    def answers(self, requests: Iterator[ServerReflectionRequest]) -> Iterator[ServerReflectionResponse]:
        """One answer for each request, in order; an unknown name is answered with an ``error_response``."""
        no_context: Any = None  # the servicer does not use it
        received: Iterator[Any] = requests
        answers: Iterator[Any] = self._servicer.ServerReflectionInfo(received, no_context)
        return answers


def served_descriptors() -> DescriptorPool:
    """A new pool with the descriptors of every service of this server, and nothing else."""
    pool = DescriptorPool()
    for descriptor in (POOL.FindServiceByName(SERVICE).file, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        _add(pool, descriptor)
    pool.AddSerializedFile(_as_v1(_file(reflection_pb2.DESCRIPTOR)).SerializeToString())
    return pool


def _add(pool: DescriptorPool, descriptor: Any) -> None:
    for dependency in descriptor.dependencies:
        _add(pool, dependency)
    # Adding the same file twice is not an error if its content is the same.
    pool.AddSerializedFile(_file(descriptor).SerializeToString())


def _file(descriptor: Any) -> FileDescriptorProto:  # a FileDescriptor, of protobuf's Python or of its C code
    file = FileDescriptorProto()
    descriptor.CopyToProto(file)
    return file


def _as_v1(file: FileDescriptorProto) -> FileDescriptorProto:
    """The same file in the newer package."""
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = _V1
    for message in file.message_type:
        for field in message.field:
            if field.HasField("type_name"):
                field.type_name = field.type_name.replace(_V1ALPHA, _V1)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(_V1ALPHA, _V1)
            method.output_type = method.output_type.replace(_V1ALPHA, _V1)
    return file
