"""The composition root: builds the server's objects, starts them, drains them and stops them."""

from __future__ import annotations

import importlib.metadata
import platform
import threading
import time
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.loading.loader import Loader
from sardonyx_server.engine.models.desired_models import DesiredModels
from sardonyx_server.engine.models.lifecycle import Lifecycle
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.response_cache.cache import ResponseCache
from sardonyx_server.engine.shared_memory.regions import Regions
from sardonyx_server.engine.statistics import snapshots
from sardonyx_server.engine.telemetry.sampling import Sampler, TraceSettings
from sardonyx_server.observe import logs, traces
from sardonyx_server.observe.metrics import MetricSources
from sardonyx_server.observe.ports import HttpPorts
from sardonyx_server.rpc.access_control import AccessControl
from sardonyx_server.rpc.other_rpcs.grpcio_server import grpcio_server
from sardonyx_server.rpc.other_rpcs.introspection import Introspection, ServerInfo, extensions
from sardonyx_server.rpc.other_rpcs.log_settings import LogSettings
from sardonyx_server.rpc.other_rpcs.methods import Services, add_services
from sardonyx_server.rpc.other_rpcs.model_repository import ModelRepository
from sardonyx_server.rpc.other_rpcs.shared_memory import SharedMemory
from sardonyx_server.rpc.other_rpcs.statistics import Statistics
from sardonyx_server.rpc.other_rpcs.trace_settings import Destination
from sardonyx_server.rpc.other_rpcs.trace_settings import TraceSettings as TraceSettingRpc
from sardonyx_server.rpc.self_check import self_check
from sardonyx_server.rpc.tls import Certificates, TlsFiles
from sardonyx_server.rpc.token_file import TokenFile
from sardonyx_server.rpc.transports import make_transport
from sardonyx_server.runtime import posix_memory
from sardonyx_server.runtime.backend import OrtBackend
from sardonyx_server.runtime.cuda_memory import CudaRuntime
from sardonyx_server.runtime.process import trim_heap
from sardonyx_server.text import host_and_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sardonyx_server.settings import Settings

__all__ = ["App"]

# Minimum time for accepted requests after a stop, so that a finished answer is not cut off.
_MIN_GRACE_S: Final = 0.5
# Longest wait at the end for traces to be written or sent, so that an unresponsive collector does not block the exit.
_TRACES_GRACE_S: Final = 3.0


class App:
    """One server.

    Args:
        settings: The operator's settings.
        on_progress: Called during the first load, on the loader's thread: (model, models done, models in total).
        on_fatal_error: Called on any thread when a vital thread of the server has died: the process should exit.
        self_check: Returns why the lane cannot be used; "" if it can.
        access_control: Called first in every call of every service, on any thread; None = as the settings say.

    Raises:
        SettingsError: The requested transport does not work here, certificates or the token file cannot be used, or
            traces cannot be written or sent.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_progress: Callable[[str, int, int], None] | None = None,
        on_fatal_error: Callable[[Exception], None] | None = None,
        self_check: Callable[[], str] = self_check,
        access_control: AccessControl | None = None,
    ) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self._on_fatal_error = on_fatal_error
        self._loaded_first = False
        self._stopping = threading.Event()
        # Held while parts are started: a concurrent stop waits until all have started, and none starts after it.
        self._starting = threading.Lock()
        self._started = False
        self._hurry = threading.Event()
        self._has_failed = False
        self.address = ""
        self.registry = Registry()
        self._token_file = None if settings.auth_tokens_file is None else TokenFile(settings.auth_tokens_file)
        if access_control is None and (self._token_file is not None or settings.grpc_restricted_protocol):
            tokens = None if self._token_file is None else self._token_file.read()
            access_control = AccessControl(settings.grpc_restricted_protocol, tokens)
        self._access_control = access_control
        self._server = grpcio_server(settings)
        version = importlib.metadata.version("sardonyx")
        self._traces = traces.make_trace_writer(
            trace_dir=settings.trace_dir,
            otlp_endpoint=settings.trace_otlp_endpoint,
            service_name=settings.server_name,
            service_version=version,
        )
        self._sampling = Sampler(
            TraceSettings(traces=settings.trace_rate > 0, rate=settings.trace_rate or TraceSettings().rate),
            sink=self._traces,
            knows=lambda name: name in self.registry.entries(),
            parent_based=settings.trace_otlp_endpoint is not None,
        )
        cuda = CudaRuntime()
        self._regions = Regions(allowed=settings.allow_client_shm, open_system=posix_memory.open_memory, cuda=cuda)
        backend = OrtBackend(
            requested=settings.providers, cores=settings.cores, cache_folder=settings.provider_cache_dir
        )
        tls_files = TlsFiles.of(settings)
        self._certificates = None if tls_files is None else Certificates(tls_files)
        self._transport = make_transport(
            self._server,
            settings,
            make_intake=self._make_intake,
            access_control=access_control,
            cores=backend.cores,
            self_check=self_check,
            on_lost=self._fail,
        )
        self._loader = Loader(
            backend,
            queue_rows=settings.max_queue_rows_per_model,
            queue_bytes=settings.max_queue_bytes_per_model,
            total_queue_bytes=settings.max_queue_bytes,
            probe_budget_s=settings.probe_budget_s,
            max_batch_rows=settings.max_batch_rows,
            response_cache=None if settings.cache_bytes is None else ResponseCache(settings.cache_bytes),
            lane=self._transport.thread,
            on_runner_lost=self._fail,
        )
        self._lifecycle = Lifecycle(
            self.registry,
            self._loader.load,
            drain_timeout_s=settings.exit_timeout_secs,
            on_model=self._model_done,
            release_memory=trim_heap,
        )
        self._desired_models = DesiredModels(settings, self.registry, self._lifecycle)
        shares = settings.allow_client_shm
        self._published = add_services(
            self._server,
            services=Services(
                introspection=Introspection(
                    self.registry,
                    ServerInfo(
                        name=settings.server_name,
                        version=version,
                        extensions=extensions(
                            system_memory=shares and posix_memory.usable(), cuda_memory=shares and cuda.usable()
                        ),
                    ),
                    self._is_ready,
                ),
                memory=SharedMemory(self._regions),
                statistics=Statistics(self.registry),
                trace_settings=TraceSettingRpc(
                    self.registry, self._sampling, Destination.of(settings), allow_admin=settings.allow_admin
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
            access_control=access_control,
        )
        self._http = HttpPorts(
            settings,
            live=lambda: not self._has_failed,
            ready=self._is_ready,
            sources=MetricSources(
                registry=self.registry,
                versions=lambda: snapshots(self.registry),
                transport=self._transport.name,
                open_calls=self._open_calls,
                lane_lag=lambda: self._transport.lag,
                build={
                    "version": version,
                    "grpcio": grpc.__version__,
                    "onnxruntime": backend.onnxruntime_version,
                    "python": platform.python_version(),
                },
            ),
        )

    @property
    def transport(self) -> str:
        """``lane`` or ``grpcio``: the transport that serves ModelInfer."""
        return self._transport.name

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics; "" if they are off or not served yet."""
        return self._http.metrics_url

    def start(self) -> None:
        """Listen and load the models; return when all that can be loaded are served. Blocks. Call once.

        Does nothing after :meth:`drain_and_stop`.

        Raises:
            CannotListen: An address is in use or does not belong to this machine.
        """
        settings = self._settings
        if self._stopping.is_set():
            return
        # Queued before the port is open, so that a call for a model that is not loaded yet gets a retryable error.
        loaded = self._desired_models.load()
        with self._starting:
            if self._stopping.is_set():
                return
            port = self._transport.listen(settings.host, settings.grpc_port, self._certificates)
            self.address = host_and_port(settings.host, port)
            if self._token_file is not None and self._access_control is not None:
                self._token_file.watch(self._access_control.renew)
            self._traces.start()
            self._server.start()
            self._transport.start()
            self._http.open()
            self._lifecycle.start()
            self._started = True
        loaded.wait()
        self._loaded_first = True
        self._published.health.refresh()
        self._desired_models.follow()

    def drain_and_stop(self, timeout_s: float) -> bool:
        """Turn readiness off, keep serving until nothing is in flight or the time is up, then stop. Blocks. Call once.

        May be called before :meth:`start`, or while it runs.

        Returns:
            Whether every accepted request was answered.
        """
        until_s = time.monotonic() + timeout_s

        def left_s() -> float:
            return 0.0 if self._hurry.is_set() else max(_MIN_GRACE_S, until_s - time.monotonic())

        self._stopping.set()
        with self._starting:
            if not self._started:
                self._published.close()
                self._published.free_threads()
                return True
        self._published.health.drain()
        self._lifecycle.refuse()
        self._desired_models.stop()
        self._transport.drain()
        if not self._hurry.is_set():
            self._transport.wait_idle(timeout_s)
        grace_s = left_s()
        self._published.close()
        stopped = self._transport.stop_server(grace_s)
        self._published.end_reflection()
        stopped.wait()
        self._published.free_threads()
        finished = self._lifecycle.stop(0.0 if self._hurry.is_set() else grace_s)
        # The lane may still be sending the last answers.
        finished = self._transport.wait_idle(_MIN_GRACE_S) and finished
        if finished:
            self._transport.stop(left_s())
        self._traces.stop(min(_TRACES_GRACE_S, max(_MIN_GRACE_S, left_s())))
        self._http.stop()
        self._regions.stop()
        if self._token_file is not None:
            self._token_file.close()
        return finished

    def kill(self) -> None:
        """Drop requests in flight, so that :meth:`drain_and_stop` returns soon. Does not block."""
        self._hurry.set()
        self._transport.hurry()
        self._transport.stop_server(0)

    def _make_intake(self, transport: str) -> Intake:
        return Intake(self.registry, find_region=self._regions.find, tracer=self._sampling, transport=transport)

    def _model_done(self, name: str, done: int, total: int) -> None:
        self._published.health.refresh()
        if self._on_progress is not None and not self._loaded_first:
            self._on_progress(name, done, total)

    def _open_calls(self) -> Mapping[str, int]:
        streams = self._transport.open_streams
        # A stream may end between the two reads.
        return {"ModelInfer": max(0, self._transport.open_calls - streams), "ModelStreamInfer": streams}

    def _is_ready(self) -> bool:
        if self._stopping.is_set() or self._has_failed or not self._loaded_first:
            return False
        return not self._settings.strict_readiness or self._desired_models.all_ready

    def _fail(self, error: Exception) -> None:
        self._has_failed = True
        self._published.health.refresh()
        if self._on_fatal_error is not None:
            self._on_fatal_error(error)
