"""Opening one version of a model: from files on disk to something that answers, with everything measured on the way.

    private copy -> signature -> config held against it -> provider -> session -> probe -> runners -> warm-up -> Model

Decides how the model runs; knows no registry and no requests.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from sardonyx_server.engine.model import Model, ModelFacts
from sardonyx_server.engine.policy import BatchPolicy
from sardonyx_server.engine.priority import normal_priority
from sardonyx_server.engine.probe import batch_axis_refusal, probe
from sardonyx_server.engine.queue import ByteBudget
from sardonyx_server.engine.registry import State
from sardonyx_server.engine.signature import Signature
from sardonyx_server.engine.synth import fill
from sardonyx_server.engine.verdict import duration_text
from sardonyx_server.engine.warmup import read_samples, warm_up
from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.effective import (
    check_against_graph,
    complete,
    served_inputs,
    states_whole_shapes,
    tensors,
)
from sardonyx_server.repository.files import graph_signature, take_private_copy
from sardonyx_server.runtime.splits import measure_split
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from numpy.typing import NDArray

    from sardonyx_server.engine.cache import ResponseCache
    from sardonyx_server.engine.session import Session
    from sardonyx_server.engine.verdict import Verdict
    from sardonyx_server.repository.files import ModelFiles
    from sardonyx_server.repository.shapes import Reshape, Tensor
    from sardonyx_server.repository.spec import ModelSpec
    from sardonyx_server.runtime.placement import Placement, ProviderOption
    from sardonyx_wire.messages import ModelConfig
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["INLINE_LIMIT_S", "Loader", "Runtime"]

INLINE_LIMIT_S: Final = 0.0003
"""Longest batch that runs on the lane itself. A hand-over to a runner costs a third of the throughput of a tiny model;
a batch longer than this would keep the lane's other callers waiting for more than the hand-over costs."""

# The same where no core is left for a runner: lane and runner would only take turns on it.
_INLINE_LIMIT_ONE_CORE_S: Final = 0.0006

# What one lane takes in beside a runner, one row a request (38,000/s with an MLP, 80,000/s of a tiny model without one,
# 2026-11-26). Runners beyond that need cut batches smaller and fight for the interpreter: two where one is enough cost
# an MLP a fifth of its throughput.
_LANE_ROWS_PER_S: Final = 40_000
_SEED: Final = 7
# Of a run at load. Models that take longer are served, but not measured.
_RUN_LIMIT_S: Final = 30.0


class Runtime(Protocol):
    """What opens models: ``runtime.machine.Machine``, or a double."""

    cores: int

    def place(self, config: ModelConfig, inputs: tuple[TensorSpec, ...]) -> tuple[Placement, tuple[str, ...]]:
        """Where the model runs, and warnings."""

    def threads_asked(self, config: ModelConfig) -> int | None:
        """Threads of one run that the config asks for."""

    def open(
        self,
        *,
        config: ModelConfig,
        model_bytes: bytes | None,
        path: Path | None,
        signature: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        providers: Sequence[ProviderOption],
        threads: int,
    ) -> Any:  # a Session that also tells provider_nodes
        """Open the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crew:
    """Who runs the batches: sessions, runners (0: inline on the lane), threads of a run, and why."""

    sessions: tuple[Session, ...]
    runners: int
    reason: str


class Loader:
    """Opens models.

    Args:
        runtime: Where they run.
        queue_rows: Most rows that may wait for one model.
        queue_bytes: Most bytes that may wait for one model.
        total_queue_bytes: Most bytes that may wait for all models.
        probe_budget_s: Time to spend on each of the two measurements of a model.
        max_batch_rows: Cap of the batch size that is chosen by measurement.
        kept: Where answers are kept, for models whose config asks for that; None: nowhere.
        later: Has a task run on the lane's thread; None where there is no lane, and so no inline models.
        on_runner_lost: Told of a runner's loop that failed, which is a bug.
    """

    def __init__(  # noqa: PLR0913 -- what the server gives to each of its models
        self,
        runtime: Runtime,
        *,
        queue_rows: int,
        queue_bytes: int,
        total_queue_bytes: int,
        probe_budget_s: float,
        max_batch_rows: int,
        kept: ResponseCache | None = None,
        later: Callable[[Callable[[], None]], bool] | None,
        on_runner_lost: Callable[[Exception], None],
    ) -> None:
        self._runtime = runtime
        self._queue_rows = queue_rows
        self._queue_bytes = queue_bytes
        self._budget = ByteBudget(total_queue_bytes)
        self._probe_budget_s = probe_budget_s
        self._max_batch_rows = max_batch_rows
        self._kept = kept
        self._later = later
        self._on_runner_lost = on_runner_lost
        # What serves must not inherit the low priority of the thread that loads.
        self._normal_priority = normal_priority()

    def load(self, spec: ModelSpec, version: int, tell: Callable[[State], None]) -> Model:
        """Open one version. Blocks: seconds for a large model.

        Args:
            spec: As it lies on disk.
            version: One of ``spec.versions``.
            tell: Told of the states on the way.

        Returns:
            A model that is warm, its runners started.

        Raises:
            LoadFailed: Says why, and what to do.
        """
        began_s = time.monotonic()
        tell(State.LOADING)
        with closing(take_private_copy(spec, version)) as files:
            opening = _Opening(self._runtime, spec, files, self._normal_priority)
            first = opening.open(opening.placement.instances[0].providers, threads=1)
            tell(State.WARMING)
            with _bounded(first):
                verdict = probe(
                    first,
                    max_rows=self._max_batch_rows,
                    budget_s=self._probe_budget_s,
                    fixed_max_batch=opening.fixed_max_batch,
                )
            verdict = opening.confirmed(verdict)
            if self._later is not None and self._runtime.cores == 1 and opening.on_cpu and not verdict.guessed:
                verdict = verdict.within(_INLINE_LIMIT_ONE_CORE_S)
            config = complete(
                spec.config,
                spec.name,
                *opening.signature,
                batch_axis=verdict.batchable,
                default_max_batch=verdict.best_rows,
            )
            policy = BatchPolicy.of(config, queue_rows=self._queue_rows, queue_bytes=self._queue_bytes)
            crew = self._crew(opening, first, verdict, policy)
            if crew.runners:
                policy = replace(policy, piece_rows=verdict.efficient_rows(policy.max_rows))
            if not spec.config.instance_group:
                config.instance_group[0].count = max(1, crew.runners)
            samples = read_samples(config, opening.inputs, folder=spec.folder, batched=policy.has_batch_axis)
            for session in crew.sessions:
                with _bounded(session):
                    warm_up(session, samples)
        main = crew.sessions[0]
        model = Model(
            signature=Signature(
                model_name=spec.name,
                version=version,
                inputs=tuple(tensor.caller for tensor in opening.inputs),
                outputs=opening.labelled_outputs,
                has_batch_axis=policy.has_batch_axis,
                input_reshapes=_reshapes(opening.inputs),
                output_reshapes=_reshapes(opening.outputs),
            ),
            sessions=crew.sessions,
            policy=policy,
            budget=self._budget,
            facts=ModelFacts(
                config=config,
                verdict=verdict,
                provider=main.provider,
                provider_reason=opening.placement.reason,
                provider_nodes=dict(first.provider_nodes),
                runners=crew.runners,
                runners_reason=crew.reason,
                threads=main.threads,
                load_s=time.monotonic() - began_s,
                warnings=(*opening.warnings, *self._no_cache(config)),
            ),
            later=self._later,
            kept=self._kept if config.response_cache.enable else None,
            on_runner_lost=self._on_runner_lost,
        )
        self._normal_priority.submit(model.start).result()
        return model

    def _no_cache(self, config: ModelConfig) -> tuple[str, ...]:
        if self._kept is not None or not config.response_cache.enable:
            return ()
        return ("response_cache has no effect: the server keeps no responses, for cache_bytes is off",)

    def _crew(self, opening: _Opening, first: Session, verdict: Verdict, policy: BatchPolicy) -> _Crew:
        """Decide who runs the batches. ``first`` is used or closed."""
        instances = opening.placement.instances
        count = instances[0].count
        if not opening.on_cpu or len(instances) > 1:
            # A GPU's session belongs to one thread and one stream.
            sessions = [
                opening.open(instance.providers, threads=1)
                for instance in instances
                for _ in range(max(1, instance.count))
            ]
            first.close()
            return _Crew(sessions=tuple(sessions), runners=len(sessions), reason="one runner for each instance")
        cores = self._runtime.cores
        threads = self._runtime.threads_asked(opening.spec.config)
        batch_s = verdict.seconds(policy.max_rows)
        if count or threads:
            return self._asked_crew(opening, first, count or max(1, cores // (threads or 1)), threads)
        if batch_s is None:
            return _Crew(sessions=(first,), runners=cores, reason="not measured: one runner for each core")
        inline_limit_s = _INLINE_LIMIT_ONE_CORE_S if cores == 1 else INLINE_LIMIT_S
        if self._later is not None and batch_s <= inline_limit_s and not verdict.guessed and policy.max_delay_s == 0:
            reason = f"inline: a full batch takes {duration_text(batch_s)}, less than a hand-over is worth"
            return _Crew(sessions=(first,), runners=0, reason=reason)
        return self._measured_crew(opening, first, verdict, policy)

    def _asked_crew(self, opening: _Opening, first: Session, runners: int, threads: int | None) -> _Crew:
        threads = threads or max(1, self._runtime.cores // runners)
        reason = f"as configured: {runners} x {threads} threads"
        if first.threads == threads:
            return _Crew(sessions=(first,), runners=runners, reason=reason)
        first.close()
        session = opening.open(opening.placement.instances[0].providers, threads=threads)
        return _Crew(sessions=(session,), runners=runners, reason=reason)

    def _measured_crew(self, opening: _Opening, first: Session, verdict: Verdict, policy: BatchPolicy) -> _Crew:
        rows = min(policy.max_rows, verdict.best_rows)
        providers = opening.placement.instances[0].providers
        measured = measure_split(
            lambda threads: first if threads == 1 else opening.open(providers, threads=threads),
            _feeds(opening.inputs, verdict.input_shapes, rows if policy.has_batch_axis else 1),
            cores=self._runtime.cores,
            budget_s=self._probe_budget_s,
        )
        best = measured.split
        if not measured.table:
            return _Crew(sessions=(measured.session,), runners=best.runners, reason="one core")
        reason = "fastest of " + ", ".join(
            f"{split.runners} x {split.threads} threads: {split.runs_per_s * rows:.0f} rows/s"
            for split in measured.table
        )
        enough = math.ceil(_LANE_ROWS_PER_S * best.runners / (best.runs_per_s * rows))
        if enough < best.runners:
            reason += f"; {enough} of these runners take all that one lane can bring"
        return _Crew(sessions=(measured.session,), runners=min(enough, best.runners), reason=reason)


class _Opening:
    """One version on its way: its files, its signature and where it runs."""

    def __init__(self, runtime: Runtime, spec: ModelSpec, files: ModelFiles, normal_priority: Executor) -> None:
        self.spec = spec
        graph = graph_signature(files)
        check_against_graph(spec.config, *graph, source=spec.config_source)
        inputs, self.outputs = tensors(spec.config, *graph)
        # What the config narrows is what the session is told, the probe tries and accelerators prepare for.
        self.signature = tuple(each.graph for each in inputs), tuple(each.graph for each in self.outputs)
        served = {each.name for each in served_inputs(spec.config, graph[0])}
        self.inputs = tuple(each for each in inputs if each.graph.name in served)
        self.placement, warnings = runtime.place(spec.config, tuple(each.graph for each in self.inputs))
        self.warnings = warnings
        self._runtime = runtime
        self._files = files
        self._normal_priority = normal_priority

    def confirmed(self, verdict: Verdict) -> Verdict:
        """The verdict of the graph, held against what is served and against the config.

        Raises:
            LoadFailed: The config sets max_batch_size for a model that cannot be batched.
        """
        # The probe leaves optional inputs out. A caller who may set one would set it for a whole batch.
        refusal = batch_axis_refusal([replace(each.graph, optional=False) for each in self.inputs], self.signature[1])
        if verdict.batchable and refusal is not None:
            verdict = replace(verdict, batchable=False, best_rows=1, reason=refusal)
        max_batch_size = self.spec.config.max_batch_size
        if max_batch_size > 0 and not verdict.batchable:
            raise LoadFailed(
                f"{self.spec.config_source} of model {quoted(self.spec.name)}: max_batch_size is {max_batch_size}, but "
                f"{verdict.reason}; set max_batch_size to 0, or export the model with a dynamic first axis"
            )
        return verdict

    @property
    def on_cpu(self) -> bool:
        """Whether no instance is on a GPU."""
        return all(instance.kind != "gpu" for instance in self.placement.instances)

    @property
    def fixed_max_batch(self) -> int | None:
        """The config's word on batching: most rows, 0 for none, None where it leaves that to the probe."""
        config = self.spec.config
        if self.spec.declines_batching or states_whole_shapes(config, *self.signature):
            return 0
        return config.max_batch_size or None

    @property
    def labelled_outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs as callers see them, with the labels of their label files."""
        labels = self.spec.labels
        return tuple(replace(each.caller, labels=labels.get(each.caller.name, ())) for each in self.outputs)

    def open(self, providers: Sequence[ProviderOption], *, threads: int) -> Any:  # see Runtime.open
        open_session = partial(
            self._runtime.open,
            config=self.spec.config,
            model_bytes=self._files.model_bytes,
            path=self._files.path,
            signature=self.signature,
            providers=providers,
            threads=threads,
        )
        # onnxruntime starts the further threads of its runs here, and they inherit the priority of who opens.
        return open_session() if threads == 1 else self._normal_priority.submit(open_session).result()


@contextmanager
def _bounded(session: Session) -> Iterator[None]:
    """End runs that do not end by themselves: one model whose loop never stops must not hold up all others."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_RUN_LIMIT_S):
            session.terminate()

    threading.Thread(target=watch, name="load-watchdog", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _reshapes(tensors: Sequence[Tensor]) -> dict[str, Reshape]:
    return {tensor.graph.name: tensor.reshape for tensor in tensors if tensor.reshape is not None}


def _feeds(inputs: Sequence[Tensor], row_shapes: Mapping[str, tuple[int, ...]], rows: int) -> dict[str, NDArray[Any]]:
    """Random inputs of ``rows`` rows in the shapes that the probe found to work."""
    rng = np.random.default_rng(_SEED)
    feeds = {}
    for each in inputs:
        shape = row_shapes.get(each.graph.name)
        if shape is not None:
            feeds[each.graph.name] = fill(each.graph.datatype, (rows, *shape[1:]) if rows > 1 else shape, rng=rng)
    return feeds
