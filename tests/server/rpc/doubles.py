"""Stand-ins for what the RPCs ask: a model that cannot run, and a server on a real socket around a registry."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State, VersionStatus
from sardonyx_server.engine.shared_memory.regions import Regions
from sardonyx_server.engine.telemetry import sampling
from sardonyx_server.engine.telemetry.sampling import Sampler
from sardonyx_server.observe import logs
from sardonyx_server.observe.traces import TraceWriter
from sardonyx_server.rpc.other_rpcs.introspection import Introspection, ServerInfo
from sardonyx_server.rpc.other_rpcs.log_settings import LogSettings
from sardonyx_server.rpc.other_rpcs.methods import RegisteredServices, Services, add_services
from sardonyx_server.rpc.other_rpcs.model_repository import ModelRepository
from sardonyx_server.rpc.other_rpcs.shared_memory import SharedMemory
from sardonyx_server.rpc.other_rpcs.statistics import Statistics
from sardonyx_server.rpc.other_rpcs.trace_settings import Destination, TraceSettings
from sardonyx_wire.messages import METHODS, ModelConfig
from sardonyx_wire.tensors import TensorSpec
from tests.server.engine.regions import NoCuda, no_system_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from google.protobuf.message import Message

    from sardonyx_server.repository.spec import BrokenModel, ModelSpec

__all__ = ["Asks", "FakeLoads", "FakeModel", "Running", "failed", "loading", "ready", "running", "some_registry"]

INPUT = TensorSpec(name="x", datatype="FP32", shape=(-1, 4), dim_names=("batch", ""))
OUTPUT = TensorSpec(name="label", datatype="INT64", shape=(-1,), dim_names=("batch",))

# Far more than any call takes, on a busy machine too.
CALL_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeModel:
    """What metadata and configuration read of a model."""

    name: str
    version: int = 1
    inputs: tuple[TensorSpec, ...] = (INPUT,)
    outputs: tuple[TensorSpec, ...] = (OUTPUT,)
    config: Any = None


def ready(registry: Registry, name: str, version: int = 1, **facts: Any) -> None:
    """Put a version into the registry that answers."""
    facts.setdefault("config", ModelConfig(name=name, platform="onnxruntime_onnx", max_batch_size=8))
    model: Any = FakeModel(name=name, version=version, **facts)
    registry.set_version(name, VersionStatus(number=version, state=State.READY, model=model))


def loading(registry: Registry, name: str, version: int = 1) -> None:
    """Put a version into the registry that loads."""
    registry.set_version(name, VersionStatus(number=version, state=State.LOADING))


def failed(registry: Registry, name: str, reason: str, version: int = 1) -> None:
    """Put a version into the registry that failed to load."""
    registry.set_version(name, VersionStatus(number=version, state=State.FAILED, reason=reason))


def some_registry() -> Registry:
    """A registry: iris 1 and 3 are ready and 4 is loading; digits loads; wine has failed."""
    registry = Registry()
    ready(registry, "iris", 1)
    ready(registry, "iris", 3)
    loading(registry, "iris", 4)
    loading(registry, "digits")
    failed(registry, "wine", "the file is empty")
    return registry


class Asks:
    """Stands in for ``rpc.access_control.AccessControl``: in every call a function is asked, which may raise."""

    def __init__(self, ask: Callable[[str, Sequence[tuple[str, Any]], str], None]) -> None:
        self._ask = ask
        self.policy = object()

    def check(self, method: str, metadata: Sequence[tuple[str, Any]], peer: str) -> object:
        """What it returns is never the policy in force, so that equal calls are asked about again."""
        self._ask(method, metadata, peer)
        return object()


class FakeLoads:
    """Loads nothing: keeps what is asked of it, and ends it as the test says. At once where the test says nothing."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.specs: list[ModelSpec | BrokenModel] = []
        self.on_load: Callable[[ModelSpec | BrokenModel], None] = self.specs.append
        self.outcomes: list[Future[None]] = []
        self.pending = False

    def load(self, name: str, find: Callable[[], AbstractContextManager[ModelSpec | BrokenModel]]) -> Future[None]:
        """Look at what would be loaded."""

        def work() -> None:
            with find() as spec:
                self.on_load(spec)

        return self._ask(name, work)

    def unload(self, name: str, check: Callable[[], None]) -> Future[None]:
        """Check it."""
        return self._ask(name, check)

    def _ask(self, name: str, work: Callable[[], None]) -> Future[None]:
        outcome: Future[None] = Future()
        self.names.append(name)
        self.outcomes.append(outcome)
        if not self.pending:
            try:
                work()
                outcome.set_result(None)
            except Exception as error:  # noqa: BLE001  # as the lifecycle does
                outcome.set_exception(error)
        return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server, and a channel to it."""

    registry: Registry
    channel: grpc.Channel
    registered: RegisteredServices
    readiness: list[bool]
    loads: FakeLoads

    def call(self, name: str, request: Message | bytes) -> Any:
        """Call an RPC of inference.GRPCInferenceService."""
        method = METHODS[name]
        message = request if isinstance(request, bytes) else request.SerializeToString()
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(method.path)
        return method.response.FromString(call(message, timeout=CALL_TIMEOUT_S))


@contextmanager
def running(
    registry: Registry | None = None,
    *,
    access_control: Any = None,
    threads: int = 4,
    info: ServerInfo | None = None,
    paths: Sequence[Path] = (),
    control_mode: str = "explicit",
    regions: Regions | None = None,
) -> Iterator[Running]:
    """A server on a loopback socket; its readiness is the last item of ``readiness``."""
    registry = some_registry() if registry is None else registry
    readiness = [True]
    is_ready: Callable[[], bool] = lambda: readiness[-1]  # noqa: E731
    server = grpc.server(ThreadPoolExecutor(max_workers=threads))
    loads = FakeLoads()
    services = Services(
        introspection=Introspection(registry, info or ServerInfo(version="1.2.3"), is_ready),
        repository=ModelRepository(registry, loads, paths=paths, control_mode=control_mode),
        statistics=Statistics(registry),
        trace_settings=TraceSettings(
            registry,
            Sampler(sampling.TraceSettings(), sink=TraceWriter(()), knows=lambda _name: True, parent_based=False),
            Destination(file="traces.jsonl", mode="triton", exists=True),
            allow_admin=True,
        ),
        log_settings=LogSettings(logs, allow_admin=False),
        memory=SharedMemory(regions or Regions(allowed=False, open_system=no_system_memory, cuda=NoCuda())),
    )
    registered = add_services(
        server, services=services, registry=registry, is_ready=is_ready, access_control=access_control
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Running(registry=registry, channel=channel, registered=registered, readiness=readiness, loads=loads)
    finally:
        registered.close()
        server.stop(None).wait()
        registered.free_threads()
