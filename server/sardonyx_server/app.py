"""The composition root: the only place that builds the server's objects, starts them, drains them and stops them."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import logging
import platform
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_server.engine.cache import ResponseCache
from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.lifecycle import Lifecycle
from sardonyx_server.engine.loading import Loader
from sardonyx_server.engine.registry import Registry
from sardonyx_server.engine.sampling import Sampling, TraceSettings
from sardonyx_server.engine.shared_memory import Regions
from sardonyx_server.engine.statistics import snapshots
from sardonyx_server.errors import SettingsError, Unsupported
from sardonyx_server.observe import logs, traces
from sardonyx_server.observe.metrics import Sources
from sardonyx_server.observe.ports import HttpPorts
from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.spec import BrokenModel
from sardonyx_server.repository.watch import Watch
from sardonyx_server.rpc.introspection import EXTENSIONS, Introspection, ServerInfo
from sardonyx_server.rpc.lane.lane import Lane, Limits
from sardonyx_server.rpc.log_settings import LogSettings
from sardonyx_server.rpc.methods import Services, add_services
from sardonyx_server.rpc.model_repository import ModelRepository
from sardonyx_server.rpc.public_api import PublicApi
from sardonyx_server.rpc.self_check import self_check
from sardonyx_server.rpc.shared_memory import SharedMemory
from sardonyx_server.rpc.statistics import Statistics
from sardonyx_server.rpc.trace_settings import Destination
from sardonyx_server.rpc.trace_settings import TraceSettings as TraceSettingRpc
from sardonyx_server.runtime import posix_memory
from sardonyx_server.runtime.cuda_memory import CudaRuntime
from sardonyx_server.runtime.heap import keep_freed_memory
from sardonyx_server.runtime.machine import Machine
from sardonyx_wire.messages import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sardonyx_server.repository.spec import ModelSpec
    from sardonyx_server.repository.watch import Changes
    from sardonyx_server.rpc.behaviours import Authorise
    from sardonyx_server.settings import Settings

__all__ = ["App", "Progress", "tune_process"]

_LOG = logging.getLogger("sardonyx.app")

_INFER: Final = METHODS["ModelInfer"].path
_STREAM: Final = METHODS["ModelStreamInfer"].path
# Of the stock server, made as they are needed. A caller that opens a call and never sends its message holds one, and on
# the public API so does each ModelInfer that waits for its model.
_RPC_THREADS: Final = 64
# What was accepted before the stop gets at least this long, so that an answer that is ready is not cut off.
_MIN_GRACE_S: Final = 0.5
_MS_PER_S: Final = 1000
# core's grpc_compression_level. It takes an algorithm that the caller accepts, and none where it accepts none.
_COMPRESSION_LEVELS: Final = {"low": 1, "medium": 2, "high": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the first loading is.

    Attributes:
        model: The model that was just brought in, well or badly.
        done: Models brought in so far.
        total: Models to bring in.
    """

    model: str
    done: int
    total: int


class App:
    """One server.

    Args:
        settings: What the operator set.
        on_progress: Told of the first loading, on the loader's thread.
        on_lost: Told, on any thread, that a part which must never end has ended: the process should exit.
        self_check: Says why the lane cannot be used, or "" where it can.
        authorise: Asked first in every call of every service, on any thread; None allows all.

    Raises:
        SettingsError: The transport that was asked for does not work here, or traces cannot go where they shall.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_lost: Callable[[Exception], None] | None = None,
        self_check: Callable[[], str] = self_check,
        authorise: Authorise | None = None,
    ) -> None:
        self._self_check = self_check
        self._authorise = authorise
        self._settings = settings
        self._on_progress = on_progress
        self._tell_lost = on_lost
        self.registry = Registry()
        self._server = grpc.server(
            ThreadPoolExecutor(_RPC_THREADS, thread_name_prefix="rpc"), options=_channel_options(settings)
        )
        version = importlib.metadata.version("sardonyx")
        self._traces = traces.writer(
            trace_dir=settings.trace_dir,
            otlp_endpoint=settings.trace_otlp_endpoint,
            service_name=settings.server_name,
            service_version=version,
        )
        self._sampling = Sampling(
            TraceSettings(traces=settings.trace_rate > 0, rate=settings.trace_rate or TraceSettings().rate),
            sink=self._traces,
            knows=lambda name: name in self.registry.entries(),
            follows_callers=settings.trace_otlp_endpoint is not None,
        )
        cuda = CudaRuntime()
        self._regions = Regions(allowed=settings.allow_client_shm, open_system=posix_memory.open_memory, cuda=cuda)
        machine = Machine(requested=settings.providers, cores=settings.cores)
        self._transport = self._make_transport(machine.cores)
        self._loader = Loader(
            machine,
            queue_rows=settings.max_queue_rows_per_model,
            queue_bytes=settings.max_queue_bytes_per_model,
            total_queue_bytes=settings.max_queue_bytes,
            probe_budget_s=settings.probe_budget_s,
            max_batch_rows=settings.max_batch_rows,
            kept=None if settings.cache_bytes is None else ResponseCache(settings.cache_bytes),
            later=self._transport.later,
            on_runner_lost=self._lost,
        )
        self._lifecycle = Lifecycle(
            self.registry, self._loader.load, drain_timeout_s=settings.exit_timeout_secs, on_model=self._model_done
        )
        self._published = add_services(
            self._server,
            services=Services(
                introspection=Introspection(
                    self.registry,
                    ServerInfo(
                        name=settings.server_name,
                        version=version,
                        extensions=_extensions(settings, cuda),
                    ),
                    self._is_ready,
                ),
                memory=SharedMemory(self._regions),
                statistics=Statistics(self.registry),
                trace_settings=TraceSettingRpc(
                    self.registry, self._sampling, _destination(settings), allow_admin=settings.allow_admin
                ),
                log_settings=LogSettings(logs, allow_admin=settings.allow_admin),
                repository=ModelRepository(
                    self.registry,
                    self._lifecycle,
                    paths=settings.model_repository,
                    control_mode=settings.model_control_mode,
                ),
            ),
            registry=self.registry,
            is_ready=self._is_ready,
            authorise=authorise,
        )
        self._wanted: Mapping[str, ModelSpec | BrokenModel] = {}
        self._loaded_first = False
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._is_lost = False
        self._watch: Watch | None = None
        self._http = HttpPorts(
            settings,
            live=lambda: not self._is_lost,
            ready=self._is_ready,
            sources=Sources(
                registry=self.registry,
                versions=lambda: snapshots(self.registry),
                transport=self._transport.name,
                open_calls=self._open_calls,
                lane_lag=lambda: None if (lag := self._transport.lag) is None else lag.away_s,
                build={
                    "version": importlib.metadata.version("sardonyx"),
                    "grpcio": grpc.__version__,
                    "onnxruntime": machine.onnxruntime_version,
                    "python": platform.python_version(),
                },
            ),
        )
        self.address = ""

    @property
    def transport(self) -> str:
        """``lane`` or ``grpcio``: what serves ModelInfer."""
        return self._transport.name

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds the metrics; "" where they are off, or not there yet."""
        return self._http.metrics_url

    def start(self) -> None:
        """Listen, load, and return when what could be loaded is served. Blocks. Once.

        Raises:
            CannotListen: The address is taken or not ours.
        """
        settings = self._settings
        place = f"[{settings.host}]" if ":" in settings.host and not settings.host.startswith("[") else settings.host
        self.address = f"{place}:{self._transport.listen(settings.host, settings.grpc_port)}"
        self._traces.start()
        self._server.start()
        self._transport.start()
        self._http.open()
        self._lifecycle.start()
        self._wanted = self._look()
        self._lifecycle.reconcile(self._wanted).wait()
        self._loaded_first = True
        self._published.health.refresh()
        if settings.model_control_mode == "poll" and not self._stopping.is_set():
            self._watch = Watch(settings.model_repository, poll_interval_s=settings.repository_poll_secs)
            threading.Thread(
                target=self._watch.run, args=(self._wanted, self._follow), name="watch", daemon=True
            ).start()

    def drain_and_stop(self, timeout_s: float) -> bool:
        """Turn readiness off, accept until nothing is in flight or the time is up, then stop. Blocks. Once.

        Returns:
            Whether everything that was accepted got its answer.
        """
        until_s = time.monotonic() + timeout_s
        self._stopping.set()
        self._published.health.drain()
        self._lifecycle.refuse()
        if self._watch is not None:
            self._watch.stop()
        self._transport.drain()
        if not self._hurry.is_set():
            self._transport.wait_idle(timeout_s)
        grace_s = 0.0 if self._hurry.is_set() else max(_MIN_GRACE_S, until_s - time.monotonic())
        self._published.close()
        self._transport.stop_server(grace_s).wait()
        self._published.free_threads()
        finished = self._lifecycle.stop(0.0 if self._hurry.is_set() else grace_s)
        # The last answers may be on their way through the lane.
        finished = self._transport.wait_idle(_MIN_GRACE_S) and finished
        if finished:
            self._transport.stop(0.0 if self._hurry.is_set() else max(_MIN_GRACE_S, until_s - time.monotonic()))
        self._traces.stop(_MIN_GRACE_S if self._hurry.is_set() else max(_MIN_GRACE_S, until_s - time.monotonic()))
        self._http.stop()
        self._regions.stop()
        return finished

    def kill(self) -> None:
        """Drop what is in flight, so that :meth:`drain_and_stop` returns soon. Does not block."""
        self._hurry.set()
        self._transport.hurry()
        self._transport.stop_server(0)

    def _make_transport(self, cores: int) -> Lane | PublicApi:
        settings = self._settings
        wanted = settings.transport
        problem = "--transport grpcio asks for it" if wanted == "grpcio" else self._self_check()
        if not problem:
            return Lane(
                self._server,
                methods=(_INFER, _STREAM),
                intake=self._make_intake(Lane.name),
                authorise=self._authorise,
                cores=cores,
                compression=settings.grpc_infer_response_compression_level,
                limits=Limits(
                    max_message_bytes=settings.max_message_bytes,
                    unfinished_bytes=settings.max_queue_bytes,
                    min_ping_interval_s=settings.keepalive_min_ping_interval_s / 2,
                ),
                on_lost=self._lost,
            )
        if wanted == "lane":
            raise SettingsError(
                f"transport: 'lane' does not work here with grpcio {grpc.__version__} ({problem}); install another "
                "version, or leave it to 'auto', which then serves on grpcio's public API"
            )
        _LOG.warning(
            "ModelInfer is served on grpcio's public API, many times slower than on the lane",
            extra={"grpcio": grpc.__version__, "reason": problem},
        )
        return PublicApi(
            self._server,
            method=_INFER,
            stream_method=_STREAM,
            make_intake=lambda: self._make_intake(PublicApi.name),
            authorise=self._authorise,
            max_message_bytes=settings.max_message_bytes,
        )

    def _make_intake(self, transport: str) -> Intake:
        return Intake(self.registry, find_region=self._regions.find, tracer=self._sampling, transport=transport)

    def _look(self) -> Mapping[str, ModelSpec | BrokenModel]:
        """What lies on disk and shall be served."""
        found = scan(self._settings.model_repository)
        if self._settings.model_control_mode != "explicit" or "*" in self._settings.load_model:
            return found
        wanted = {name: found.get(name) or _absent(name, found) for name in self._settings.load_model}
        for name, model in found.items():
            if name not in wanted:
                # Known, so that callers hear that it is not loaded, not that there is no such model.
                self.registry.set_problem(name, model.reason if isinstance(model, BrokenModel) else "")
        return wanted

    def _follow(self, _changes: Changes, found: Mapping[str, ModelSpec | BrokenModel]) -> None:
        """Serve what lies on disk now. On the watch's thread."""
        self._wanted = found
        self._lifecycle.reconcile(found).wait()

    def _model_done(self, name: str, done: int, total: int) -> None:
        self._published.health.refresh()
        if self._on_progress is not None and not self._loaded_first:
            self._on_progress(Progress(model=name, done=done, total=total))

    def _open_calls(self) -> Mapping[str, int]:
        streams = self._transport.open_streams
        # A stream may end between the two looks.
        return {"ModelInfer": max(0, self._transport.open_calls - streams), "ModelStreamInfer": streams}

    def _is_ready(self) -> bool:
        if self._stopping.is_set() or self._is_lost or not self._loaded_first:
            return False
        if not self._settings.strict_readiness:
            return True
        entries = self.registry.entries()
        return all(
            name in entries and (entries[name].newest_ready is not None or entries[name].is_unloaded)
            for name in self._wanted
        )

    def _lost(self, error: Exception) -> None:
        self._is_lost = True
        self._published.health.refresh()
        if self._tell_lost is not None:
            self._tell_lost(error)


def tune_process() -> None:
    """Settings of the interpreter for a process that only serves. Call once, when the models are loaded.

    Switch interval: a runner that has finished waits for the interpreter at most this long while the lane works; the
    default of 5 ms would be most of a p99. Garbage: a request leaves no cycles, so a collection finds nothing and only
    costs; what is there now is exempt, the rest is looked at rarely. Memory: see ``keep_freed_memory``.
    """
    keep_freed_memory()
    sys.setswitchinterval(0.00005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _destination(settings: Settings) -> Destination:
    to_file, to_collector = settings.trace_dir is not None, settings.trace_otlp_endpoint is not None
    return Destination(
        file=traces.FILE_NAME if to_file else "",
        mode="opentelemetry" if to_collector else "triton",
        exists=to_file or to_collector,
    )


def _extensions(settings: Settings, cuda: CudaRuntime) -> tuple[str, ...]:
    """The protocol's extensions that work on this server as it is set up, sorted."""
    found: set[str] = {*EXTENSIONS}
    if settings.allow_client_shm:
        if posix_memory.usable():
            found |= {"system_shared_memory", "system_shared_memory(output_region)"}
        with contextlib.suppress(Unsupported):
            cuda.require()
            found.add("cuda_shared_memory")
    return tuple(sorted(found))


def _absent(name: str, found: Mapping[str, ModelSpec | BrokenModel]) -> BrokenModel:
    """What --load-model names and no repository has: shown as a model that failed, so that readiness tells."""
    known = ", ".join(sorted(found)) or "no models"
    reason = f"--load-model names it, but no repository has it; there are {known}"
    return BrokenModel(name=name, folder=Path(), reason=reason, fingerprint="")


def _channel_options(settings: Settings) -> list[tuple[str, int]]:
    ping_ms = int(settings.keepalive_min_ping_interval_s * _MS_PER_S)
    compression = _COMPRESSION_LEVELS.get(settings.grpc_infer_response_compression_level)
    return [
        *([] if compression is None else [("grpc.default_compression_level", compression)]),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Without this a second server on the same port would silently take half of the connections.
        ("grpc.so_reuseport", 0),
        # Clients ping every 10 s by common practice; the default policy cuts them off after two pings.
        ("grpc.http2.min_ping_interval_without_data_ms", ping_ms // 2),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
