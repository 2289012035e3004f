"""The table of RPCs with the handler of each, and their registration with grpc. Contains no logic of an RPC.

ModelInfer and ModelStreamInfer are in the table but not registered here: the transport of inference serves them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from sardonyx_server.rpc.other_rpcs.behaviours import BlockingUnary, FutureWaiter, Reflect, RpcMethod, Unary, Watch
from sardonyx_server.rpc.other_rpcs.health import Health
from sardonyx_server.rpc.other_rpcs.introspection import Introspection
from sardonyx_server.rpc.other_rpcs.log_settings import LogSettings
from sardonyx_server.rpc.other_rpcs.model_repository import ModelRepository
from sardonyx_server.rpc.other_rpcs.reflection import HEALTH_SERVICE, REFLECTION_SERVICES, Reflection
from sardonyx_server.rpc.other_rpcs.shared_memory import SharedMemory
from sardonyx_server.rpc.other_rpcs.statistics import Statistics
from sardonyx_server.rpc.other_rpcs.trace_settings import TraceSettings
from sardonyx_wire.messages import METHODS, SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.rpc.access_control import AccessControl

__all__ = ["RPCS", "BlockingRpc", "InferenceRpc", "RegisteredServices", "Services", "UnaryRpc", "add_services"]

# A reflection stream holds a thread while it is open. These threads are its own, so idle streams delay nothing else.
_REFLECTION_THREADS: Final = 2
# Loads wait for the one thread that loads: a few hold the messages of their callers, the others wait unread. An index
# reads the disk, which may hang: it waits for no load, and nothing else waits for it.
_BLOCKING_THREADS: Final[Mapping[str, int]] = {"control": 8, "index": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The objects that answer all RPCs except inference. Any thread."""

    introspection: Introspection
    memory: SharedMemory
    statistics: Statistics
    trace_settings: TraceSettings
    log_settings: LogSettings
    repository: ModelRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class UnaryRpc:
    """A unary RPC that is answered on a thread of grpc's pool.

    Attributes:
        answer: (services, request message) -> response message, or raises.
    """

    answer: Callable[[Services, Any], Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingRpc:
    """A unary RPC that may block. It has threads of its own, so that any number of such calls delays no other RPC.

    Attributes:
        answer: (services, request message, waiter for futures) -> response message, or raises.
        pool: Name of the thread pool that it runs on.
    """

    answer: Callable[[Services, Any, FutureWaiter], Message]
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRpc:
    """An RPC of inference, which the transport of inference serves."""


RPCS: Final[Mapping[str, UnaryRpc | BlockingRpc | InferenceRpc]] = {
    "ServerLive": UnaryRpc(answer=lambda on, request: on.introspection.server_live(request)),
    "ServerReady": UnaryRpc(answer=lambda on, request: on.introspection.server_ready(request)),
    "ModelReady": UnaryRpc(answer=lambda on, request: on.introspection.model_ready(request)),
    "ServerMetadata": UnaryRpc(answer=lambda on, request: on.introspection.server_metadata(request)),
    "ModelMetadata": UnaryRpc(answer=lambda on, request: on.introspection.model_metadata(request)),
    "ModelInfer": InferenceRpc(),
    "ModelStreamInfer": InferenceRpc(),
    "ModelConfig": UnaryRpc(answer=lambda on, request: on.introspection.model_config(request)),
    "ModelStatistics": UnaryRpc(answer=lambda on, request: on.statistics.model_statistics(request)),
    "RepositoryIndex": BlockingRpc(answer=lambda on, request, _wait: on.repository.index(request), pool="index"),
    "RepositoryModelLoad": BlockingRpc(
        answer=lambda on, request, wait: on.repository.load(request, wait), pool="control"
    ),
    "RepositoryModelUnload": BlockingRpc(
        answer=lambda on, request, wait: on.repository.unload(request, wait), pool="control"
    ),
    "SystemSharedMemoryStatus": UnaryRpc(answer=lambda on, request: on.memory.system_status(request)),
    "SystemSharedMemoryRegister": UnaryRpc(answer=lambda on, request: on.memory.system_register(request)),
    "SystemSharedMemoryUnregister": UnaryRpc(answer=lambda on, request: on.memory.system_unregister(request)),
    "CudaSharedMemoryStatus": UnaryRpc(answer=lambda on, request: on.memory.cuda_status(request)),
    "CudaSharedMemoryRegister": UnaryRpc(answer=lambda on, request: on.memory.cuda_register(request)),
    "CudaSharedMemoryUnregister": UnaryRpc(answer=lambda on, request: on.memory.cuda_unregister(request)),
    "TraceSetting": UnaryRpc(answer=lambda on, request: on.trace_settings.answer(request)),
    "LogSettings": UnaryRpc(answer=lambda on, request: on.log_settings.answer(request)),
}
"""Name -> kind, for every RPC of inference.GRPCInferenceService."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredServices:
    """The services that :func:`add_services` registered.

    Attributes:
        health: The health service. Must be told of drains, and of changes of readiness without a change of a model.
    """

    health: Health
    _reflections: Sequence[Reflect]
    _reflection_threads: ThreadPoolExecutor
    _blocking_threads: Mapping[str, ThreadPoolExecutor]

    def close(self) -> None:
        """End watches and shut thread pools down. Blocks for some seconds at most. Call it before ``server.stop()``."""
        self.health.close()
        self._reflection_threads.shutdown(wait=False)

    def end_reflection(self) -> None:
        """End the open reflection streams. Does not block. Call it when ``server.stop()`` has begun."""
        for reflection in self._reflections:
            reflection.end()

    def free_threads(self) -> None:
        """Shut the thread pools of blocking RPCs down. Does not block. Call it when ``server.stop()`` is over."""
        for threads in self._blocking_threads.values():
            threads.shutdown(wait=False)


def add_services(
    server: grpc.Server,
    *,
    services: Services,
    registry: Registry,
    is_ready: Callable[[], bool],
    access_control: AccessControl | None,
) -> RegisteredServices:
    """Register every RPC except inference.

    Args:
        server: The grpcio server; not started yet.
        services: The objects that answer the RPCs.
        registry: The registry of models, for health.
        is_ready: Whether the server accepts requests; called on any thread, must not block.
        access_control: Checked first in every call of every service; None allows every call.

    Returns:
        A handle for drain and close.
    """
    reflection = Reflection()
    health = Health(registry, is_ready)
    reflection_threads = ThreadPoolExecutor(_REFLECTION_THREADS, thread_name_prefix="reflection")
    blocking_threads = {
        pool: ThreadPoolExecutor(count, thread_name_prefix=pool) for pool, count in _BLOCKING_THREADS.items()
    }
    table = {
        SERVICE: {
            name: handler
            for name, rpc in RPCS.items()
            if (handler := _inference_handler(name, rpc, services, blocking_threads, access_control)) is not None
        },
        HEALTH_SERVICE: _health_handlers(health, access_control),
    }
    reflections = []
    for service in REFLECTION_SERVICES:
        rpc_method = RpcMethod(service, "ServerReflectionInfo", ServerReflectionRequest, access_control)
        reflections.append(Reflect(rpc_method, reflection, reflection_threads))
        table[service] = {rpc_method.name: grpc.stream_stream_rpc_method_handler(reflections[-1])}
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(service, handlers) for service, handlers in table.items())
    )
    return RegisteredServices(
        health=health,
        _reflections=reflections,
        _reflection_threads=reflection_threads,
        _blocking_threads=blocking_threads,
    )


def _health_handlers(
    health: Health, access_control: AccessControl | None
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    check = RpcMethod(HEALTH_SERVICE, "Check", HealthCheckRequest, access_control)
    watch = RpcMethod(HEALTH_SERVICE, "Watch", HealthCheckRequest, access_control)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        check.name: grpc.unary_unary_rpc_method_handler(Unary(check, lambda request: health.check(request.service))),
        watch.name: grpc.unary_stream_rpc_method_handler(
            Watch(watch, health), response_serializer=HealthCheckResponse.SerializeToString
        ),
    }
    # Reflection shows the health service of the installed grpcio-health-checking: newer versions have List.
    listing: Any = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name.get("List")
    if listing is not None:
        every = RpcMethod(HEALTH_SERVICE, listing.name, GetMessageClass(listing.input_type), access_control)
        handlers[every.name] = grpc.unary_unary_rpc_method_handler(Unary(every, lambda _request: health.check_all()))
    return handlers


def _inference_handler(
    name: str,
    rpc: UnaryRpc | BlockingRpc | InferenceRpc,
    services: Services,
    blocking_threads: Mapping[str, ThreadPoolExecutor],
    access_control: AccessControl | None,
) -> grpc.RpcMethodHandler[Any, Any] | None:
    method = METHODS[name]
    rpc_method = RpcMethod(SERVICE, name, method.request, access_control)
    match rpc:
        case InferenceRpc():
            return None
        case UnaryRpc(answer=answer):
            return grpc.unary_unary_rpc_method_handler(Unary(rpc_method, lambda request: answer(services, request)))
        case BlockingRpc(answer=blocking_answer, pool=pool):
            blocking = BlockingUnary(
                rpc_method, lambda request, wait: blocking_answer(services, request, wait), blocking_threads[pool]
            )
            return grpc.unary_unary_rpc_method_handler(blocking)
