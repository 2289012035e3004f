"""Loads one version of a model: from its files on disk to a running model, with everything measured on the way.

    private copy -> signature -> config check -> provider -> session -> probe -> runners -> warm-up -> Model

Decides how the model runs; knows no registry and no requests.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.policy import BatchPolicy
from sardonyx_server.engine.loading.load_context import LoadContext
from sardonyx_server.engine.loading.runners import INLINE_LIMIT_ONE_CORE_S, RunnerChoice
from sardonyx_server.engine.loading.traffic import TrafficMonitor
from sardonyx_server.engine.loading.warmup import read_samples, warm_up
from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.priority import normal_priority_executor
from sardonyx_server.engine.profiling.measurement_cache import MeasurementCache, Measurements
from sardonyx_server.engine.profiling.probe import probe
from sardonyx_server.engine.requests.signature import Signature
from sardonyx_server.engine.running.model import Model
from sardonyx_server.engine.running.model_info import ModelInfo
from sardonyx_server.errors import ServerError
from sardonyx_server.repository.effective_config import complete_config
from sardonyx_server.repository.files import take_private_copy
from sardonyx_server.repository.graph import GraphCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sardonyx_server.engine.loading.load_context import Runtime
    from sardonyx_server.engine.profiling.verdict import Verdict
    from sardonyx_server.engine.response_cache.cache import ResponseCache
    from sardonyx_server.engine.running.lane_thread import LaneThread
    from sardonyx_server.engine.session import Session
    from sardonyx_server.repository.shapes import ConfiguredTensor, Reshape
    from sardonyx_server.repository.spec import ModelSpec
    from sardonyx_wire.messages import ModelConfig

__all__ = ["Loader"]

# Longest run during a load. Models whose runs take longer are served, but not measured.
_RUN_LIMIT_S: Final = 30.0


class Loader:
    """Loads models. Caches its measurements, so that the same content is not measured again.

    Args:
        runtime: Opens sessions.
        queue_rows: Most pending rows of one model.
        queue_bytes: Most pending bytes of one model.
        total_queue_bytes: Most pending bytes of all models together.
        probe_budget_s: Time budget for each of the two measurements of a model.
        max_batch_rows: Cap of the batch size that is chosen by measurement.
        response_cache: The server's response cache, for models whose config enables it; None = off.
        lane: The lane's thread; None where there is no lane, and so no inline models.
        on_runner_lost: Called when a runner's loop has failed, which is a bug.
    """

    def __init__(  # noqa: PLR0913 -- the server-wide settings of every model
        self,
        runtime: Runtime,
        *,
        queue_rows: int,
        queue_bytes: int,
        total_queue_bytes: int,
        probe_budget_s: float,
        max_batch_rows: int,
        response_cache: ResponseCache | None = None,
        lane: LaneThread | None,
        on_runner_lost: Callable[[Exception], None],
    ) -> None:
        self._runtime = runtime
        self._queue_rows = queue_rows
        self._queue_bytes = queue_bytes
        self._budget = ByteBudget(total_queue_bytes)
        self._probe_budget_s = probe_budget_s
        self._max_batch_rows = max_batch_rows
        self._response_cache = response_cache
        self._lane = lane
        self._on_runner_lost = on_runner_lost
        self._measurements = MeasurementCache()
        self._graphs = GraphCache()
        self._traffic = TrafficMonitor()
        # Threads that serve must not inherit the low priority of the loader's thread.
        self._normal_priority_executor = normal_priority_executor()

    def load(self, spec: ModelSpec, version: int, report_state: Callable[[State], None]) -> Model:
        """Load one version. Blocks, for seconds with a large model.

        Args:
            spec: The model as it is on disk.
            version: One of ``spec.versions``.
            report_state: Called with the states on the way.

        Returns:
            The model, warmed up, with its runners started.

        Raises:
            LoadFailed: The message says why, and what to do.
        """
        began_s = time.monotonic()
        is_busy = self._traffic.start()
        report_state(State.LOADING)
        with closing(take_private_copy(spec, version, graphs=self._graphs)) as files:
            context = LoadContext(self._runtime, spec, files, self._normal_priority_executor)
            content_key, file_bytes = context.content_key(), files.size_bytes()
            known = self._measurements.get(content_key)
            # The probe runs with one thread.
            threads = known.threads if known is not None else 1
            first = context.open_session(context.placement.instances[0].providers, threads=threads)
            report_state(State.WARMING)
            found = self._probe(context, first) if known is None else known.verdict
            verdict = context.check_verdict(found)
            if self._lane is not None and self._runtime.cores == 1 and context.on_cpu and not verdict.guessed:
                verdict = verdict.within(INLINE_LIMIT_ONE_CORE_S)
            config = complete_config(
                spec.config,
                spec.name,
                *context.signature,
                batch_axis=verdict.batchable,
                default_max_batch=verdict.best_rows,
            )
            policy = BatchPolicy.of(config, queue_rows=self._queue_rows, queue_bytes=self._queue_bytes)
            runners = RunnerChoice(
                context,
                cores=self._runtime.cores,
                threads_asked=self._runtime.threads_asked(spec.config),
                # A run that blocks the lane blocks all callers, and with loops a caller decides how long it takes.
                allow_inline=self._lane is not None and not context.has_loops,
                budget_s=self._probe_budget_s,
                splits=() if known is None else known.splits,
                latency_mode=None if known is None else known.latency_mode,
                is_busy=is_busy,
            ).choose(first, verdict, policy)
            self._measurements.put(
                content_key, Measurements(verdict=found, splits=runners.splits, latency_mode=runners.latency_mode)
            )
            if runners.count:
                microbatch_rows = verdict.efficient_rows(policy.max_rows)
                policy = replace(
                    policy,
                    microbatch_rows=microbatch_rows,
                    lane_rows=runners.lane_rows,
                    latency_mode=runners.latency_session is not None,
                )
            else:
                policy = replace(policy, deferred_read_rows=runners.deferred_read_rows)
            if not spec.config.instance_group:
                config.instance_group[0].count = max(1, runners.count)
            samples = read_samples(config, context.inputs, folder=spec.folder, batched=policy.has_batch_axis)
            for session in runners.all_sessions:
                with _run_watchdog(session):
                    if known is not None:
                        _warm_up_unmeasured(session, context, verdict, policy)
                    warm_up(session, samples)
        main = runners.sessions[0]
        model = Model(
            signature=Signature(
                model_name=spec.name,
                version=version,
                inputs=tuple(tensor.caller for tensor in context.inputs),
                outputs=context.outputs_served(has_batch_axis=policy.has_batch_axis),
                has_batch_axis=policy.has_batch_axis,
                input_reshapes=_reshapes(context.inputs),
                output_reshapes=_reshapes(context.outputs),
                separate_deferred_reads=policy.deferred_read_rows > 0,
                max_rows=policy.max_rows,
            ),
            sessions=runners.sessions,
            latency_session=runners.latency_session,
            policy=policy,
            budget=self._budget,
            info=ModelInfo(
                config=config,
                verdict=verdict,
                provider=main.provider,
                provider_reason=context.placement.reason,
                provider_nodes=dict(first.provider_nodes),
                runners=runners.count,
                runners_reason=runners.reason,
                threads=main.threads,
                remembered=known is not None,
                load_s=time.monotonic() - began_s,
                file_bytes=file_bytes,
                warnings=(*context.warnings, *self._no_cache(config)),
                notes=context.notes,
            ),
            lane=self._lane,
            response_cache=self._response_cache if config.response_cache.enable else None,
            on_runner_lost=self._on_runner_lost,
        )
        self._normal_priority_executor.submit(model.start).result()
        self._traffic.add(model)
        return model

    def _probe(self, context: LoadContext, first: Session) -> Verdict:
        with _run_watchdog(first):
            return probe(
                first,
                max_rows=self._max_batch_rows,
                budget_s=self._probe_budget_s,
                fixed_max_batch=context.fixed_max_batch,
            )

    def _no_cache(self, config: ModelConfig) -> tuple[str, ...]:
        if self._response_cache is not None or not config.response_cache.enable:
            return ()
        return ("response_cache has no effect: the server keeps no responses, for cache_bytes is off",)


@contextmanager
def _run_watchdog(session: Session) -> Iterator[None]:
    """Terminate runs that take too long: a model whose loop never ends must not block the loading of all others."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_RUN_LIMIT_S):
            session.terminate()

    threading.Thread(target=watch, name="load-watchdog", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _warm_up_unmeasured(session: Session, context: LoadContext, verdict: Verdict, policy: BatchPolicy) -> None:
    """Run the shapes that measuring would have run: the first run of a shape is slow, because it allocates."""
    names = [spec.name for spec in session.outputs]
    max_rows = verdict.measured_rows(min(policy.max_rows, verdict.best_rows)) if policy.has_batch_axis else 1
    for rows in sorted({1, max_rows, policy.deferred_read_rows or 1}):
        # It ran when it was measured. If it fails now, so will requests, and their callers get the error.
        with suppress(ServerError):
            session.run(names, context.random_inputs(verdict, rows))


def _reshapes(tensors: Sequence[ConfiguredTensor]) -> dict[str, Reshape]:
    return {tensor.graph.name: tensor.reshape for tensor in tensors if tensor.reshape is not None}
