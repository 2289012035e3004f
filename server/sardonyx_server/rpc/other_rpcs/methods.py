"""Which RPCs there are, what serves each, and their registration with grpc. Holds no logic of an RPC.

ModelInfer and ModelStreamInfer are in the table but not registered here: the lane, or its fallback, takes them.
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

from sardonyx_server.rpc.other_rpcs.behaviours import Entry, Reflect, Slow, Unary, Wait, Watch
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

__all__ = ["RPCS", "HotPath", "Published", "Served", "Services", "TakesLong", "add_services"]

# A reflection stream holds a thread while it is open. It has its own few, so that idle ones keep nothing else waiting.
_REFLECTION_THREADS: Final = 2
# Loads wait for the one thread that loads: a few hold what their callers sent, the others wait unread. An index reads
# the disk, which may hang: it waits for no load, and nothing else for it.
_SLOW_THREADS: Final[Mapping[str, int]] = {"control": 8, "index": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What answers the RPCs that the lane does not, by subject. Any thread."""

    introspection: Introspection
    memory: SharedMemory
    statistics: Statistics
    trace_settings: TraceSettings
    log_settings: LogSettings
    repository: ModelRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An RPC that is served here.

    Attributes:
        answer: Request message -> response message, or raises.
    """

    answer: Callable[[Services, Any], Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakesLong:
    """An RPC that is served here, on threads of its own: however many are under way, all others are answered.

    Attributes:
        answer: (services, request message, waits for what others do) -> response message, or raises.
        pool: Whose threads it takes.
    """

    answer: Callable[[Services, Any, Wait], Message]
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HotPath:
    """An RPC that the lane answers."""


RPCS: Final[Mapping[str, Served | TakesLong | HotPath]] = {
    "ServerLive": Served(answer=lambda on, request: on.introspection.server_live(request)),
    "ServerReady": Served(answer=lambda on, request: on.introspection.server_ready(request)),
    "ModelReady": Served(answer=lambda on, request: on.introspection.model_ready(request)),
    "ServerMetadata": Served(answer=lambda on, request: on.introspection.server_metadata(request)),
    "ModelMetadata": Served(answer=lambda on, request: on.introspection.model_metadata(request)),
    "ModelInfer": HotPath(),
    "ModelStreamInfer": HotPath(),
    "ModelConfig": Served(answer=lambda on, request: on.introspection.model_config(request)),
    "ModelStatistics": Served(answer=lambda on, request: on.statistics.model_statistics(request)),
    "RepositoryIndex": TakesLong(answer=lambda on, request, _wait: on.repository.index(request), pool="index"),
    "RepositoryModelLoad": TakesLong(
        answer=lambda on, request, wait: on.repository.load(request, wait), pool="control"
    ),
    "RepositoryModelUnload": TakesLong(
        answer=lambda on, request, wait: on.repository.unload(request, wait), pool="control"
    ),
    "SystemSharedMemoryStatus": Served(answer=lambda on, request: on.memory.system_status(request)),
    "SystemSharedMemoryRegister": Served(answer=lambda on, request: on.memory.system_register(request)),
    "SystemSharedMemoryUnregister": Served(answer=lambda on, request: on.memory.system_unregister(request)),
    "CudaSharedMemoryStatus": Served(answer=lambda on, request: on.memory.cuda_status(request)),
    "CudaSharedMemoryRegister": Served(answer=lambda on, request: on.memory.cuda_register(request)),
    "CudaSharedMemoryUnregister": Served(answer=lambda on, request: on.memory.cuda_unregister(request)),
    "TraceSetting": Served(answer=lambda on, request: on.trace_settings.answer(request)),
    "LogSettings": Served(answer=lambda on, request: on.log_settings.answer(request)),
}
"""Every RPC of inference.GRPCInferenceService."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What :func:`add_services` started.

    Attributes:
        health: To be told of drains, and of readiness that changes with no model.
    """

    health: Health
    _reflections: Sequence[Reflect]
    _reflection_threads: ThreadPoolExecutor
    _slow_threads: Mapping[str, ThreadPoolExecutor]

    def close(self) -> None:
        """End watches, let go of threads. Blocks for some seconds at most. To be called before ``server.stop()``."""
        self.health.close()
        self._reflection_threads.shutdown(wait=False)

    def end_reflection(self) -> None:
        """End what is open of reflection. Does not block. To be called when ``server.stop()`` has begun."""
        for reflection in self._reflections:
            reflection.end()

    def free_threads(self) -> None:
        """Let go of the threads of slow RPCs. Does not block. To be called when ``server.stop()`` is over."""
        for threads in self._slow_threads.values():
            threads.shutdown(wait=False)


def add_services(
    server: grpc.Server,
    *,
    services: Services,
    registry: Registry,
    is_ready: Callable[[], bool],
    access_control: AccessControl | None,
) -> Published:
    """Register everything but the hot path.

    Args:
        server: Not started yet.
        services: What answers them.
        registry: Every known model, for health.
        is_ready: Whether the server takes requests; called on any thread, must not block.
        access_control: Asked first in every call of every service; None allows all.

    Returns:
        A handle for drain and close.
    """
    reflection = Reflection()
    health = Health(registry, is_ready)
    reflection_threads = ThreadPoolExecutor(_REFLECTION_THREADS, thread_name_prefix="reflection")
    slow_threads = {pool: ThreadPoolExecutor(count, thread_name_prefix=pool) for pool, count in _SLOW_THREADS.items()}
    table = {
        SERVICE: {
            name: handler
            for name, rpc in RPCS.items()
            if (handler := _inference_handler(name, rpc, services, slow_threads, access_control)) is not None
        },
        HEALTH_SERVICE: _health_handlers(health, access_control),
    }
    reflections = []
    for service in REFLECTION_SERVICES:
        entry = Entry(service, "ServerReflectionInfo", ServerReflectionRequest, access_control)
        reflections.append(Reflect(entry, reflection, reflection_threads))
        table[service] = {entry.name: grpc.stream_stream_rpc_method_handler(reflections[-1])}
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(service, handlers) for service, handlers in table.items())
    )
    return Published(
        health=health,
        _reflections=reflections,
        _reflection_threads=reflection_threads,
        _slow_threads=slow_threads,
    )


def _health_handlers(
    health: Health, access_control: AccessControl | None
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    check = Entry(HEALTH_SERVICE, "Check", HealthCheckRequest, access_control)
    watch = Entry(HEALTH_SERVICE, "Watch", HealthCheckRequest, access_control)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        check.name: grpc.unary_unary_rpc_method_handler(Unary(check, lambda request: health.check(request.service))),
        watch.name: grpc.unary_stream_rpc_method_handler(
            Watch(watch, health), response_serializer=HealthCheckResponse.SerializeToString
        ),
    }
    # Reflection shows the health service as the installed grpcio-health-checking has it: newer ones have List.
    listing: Any = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name.get("List")
    if listing is not None:
        every = Entry(HEALTH_SERVICE, listing.name, GetMessageClass(listing.input_type), access_control)
        handlers[every.name] = grpc.unary_unary_rpc_method_handler(Unary(every, lambda _request: health.check_all()))
    return handlers


def _inference_handler(
    name: str,
    rpc: Served | TakesLong | HotPath,
    services: Services,
    slow_threads: Mapping[str, ThreadPoolExecutor],
    access_control: AccessControl | None,
) -> grpc.RpcMethodHandler[Any, Any] | None:
    method = METHODS[name]
    entry = Entry(SERVICE, name, method.request, access_control)
    match rpc:
        case HotPath():
            return None
        case Served(answer=answer):
            return grpc.unary_unary_rpc_method_handler(Unary(entry, lambda request: answer(services, request)))
        case TakesLong(answer=slow_answer, pool=pool):
            slow = Slow(entry, lambda request, wait: slow_answer(services, request, wait), slow_threads[pool])
            return grpc.unary_unary_rpc_method_handler(slow)
