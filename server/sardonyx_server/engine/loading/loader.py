"""Opening one version of a model: from files on disk to something that answers, with everything measured on the way.

    private copy -> signature -> config held against it -> provider -> session -> probe -> runners -> warm-up -> Model

Decides how the model runs; knows no registry and no requests.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.budget import ByteBudget
from sardonyx_server.engine.batching.policy import BatchPolicy
from sardonyx_server.engine.loading.opening import Opening
from sardonyx_server.engine.loading.runners import INLINE_LIMIT_ONE_CORE_S, RunnerChoice
from sardonyx_server.engine.loading.traffic import Traffic
from sardonyx_server.engine.loading.warmup import read_samples, warm_up
from sardonyx_server.engine.measuring.findings import Findings, FindingsByContent
from sardonyx_server.engine.measuring.probe import probe
from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.priority import normal_priority
from sardonyx_server.engine.requests.signature import Signature
from sardonyx_server.engine.running.facts import ModelFacts
from sardonyx_server.engine.running.model import Model
from sardonyx_server.errors import ServerError
from sardonyx_server.repository.effective import complete
from sardonyx_server.repository.files import take_private_copy
from sardonyx_server.repository.graph import GraphsByContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sardonyx_server.engine.loading.opening import Runtime
    from sardonyx_server.engine.measuring.verdict import Verdict
    from sardonyx_server.engine.response_cache.cache import ResponseCache
    from sardonyx_server.engine.running.lane_thread import LaneThread
    from sardonyx_server.engine.session import Session
    from sardonyx_server.repository.shapes import Reshape, Tensor
    from sardonyx_server.repository.spec import ModelSpec
    from sardonyx_wire.messages import ModelConfig

__all__ = ["Loader"]

# Of a run at load. Models that take longer are served, but not measured.
_RUN_LIMIT_S: Final = 30.0


class Loader:
    """Opens models. Remembers what it measured: the same content is not measured again.

    Args:
        runtime: Where they run.
        queue_rows: Most rows that may wait for one model.
        queue_bytes: Most bytes that may wait for one model.
        total_queue_bytes: Most bytes that may wait for all models.
        probe_budget_s: Time to spend on each of the two measurements of a model.
        max_batch_rows: Cap of the batch size that is chosen by measurement.
        kept: Where answers are kept, for models whose config asks for that; None: nowhere.
        lane: The lane's thread; None where there is no lane, and so no inline models.
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
        lane: LaneThread | None,
        on_runner_lost: Callable[[Exception], None],
    ) -> None:
        self._runtime = runtime
        self._queue_rows = queue_rows
        self._queue_bytes = queue_bytes
        self._budget = ByteBudget(total_queue_bytes)
        self._probe_budget_s = probe_budget_s
        self._max_batch_rows = max_batch_rows
        self._kept = kept
        self._lane = lane
        self._on_runner_lost = on_runner_lost
        self._findings = FindingsByContent()
        self._graphs = GraphsByContent()
        self._traffic = Traffic()
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
        is_busy = self._traffic.watched()
        tell(State.LOADING)
        with closing(take_private_copy(spec, version, graphs=self._graphs)) as files:
            opening = Opening(self._runtime, spec, files, self._normal_priority)
            content, file_bytes = opening.content(), files.size_bytes()
            known = self._findings.get(content)
            # What is measured has one thread in each run.
            threads = known.threads if known is not None else 1
            first = opening.open(opening.placement.instances[0].providers, threads=threads)
            tell(State.WARMING)
            found = self._probed(opening, first) if known is None else known.verdict
            verdict = opening.confirmed(found)
            if self._lane is not None and self._runtime.cores == 1 and opening.on_cpu and not verdict.guessed:
                verdict = verdict.within(INLINE_LIMIT_ONE_CORE_S)
            config = complete(
                spec.config,
                spec.name,
                *opening.signature,
                batch_axis=verdict.batchable,
                default_max_batch=verdict.best_rows,
            )
            policy = BatchPolicy.of(config, queue_rows=self._queue_rows, queue_bytes=self._queue_bytes)
            runners = RunnerChoice(
                opening,
                cores=self._runtime.cores,
                threads_asked=self._runtime.threads_asked(spec.config),
                # What blocks the lane blocks everybody, and a loop ends when a caller says.
                inlines=self._lane is not None and not opening.loops,
                budget_s=self._probe_budget_s,
                splits=() if known is None else known.splits,
                widens=None if known is None else known.widens,
                is_busy=is_busy,
            ).choose(first, verdict, policy)
            self._findings.keep(content, Findings(verdict=found, splits=runners.splits, widens=runners.widens))
            if runners.count:
                piece_rows = verdict.efficient_rows(policy.max_rows)
                policy = replace(
                    policy, piece_rows=piece_rows, lane_rows=runners.lane_rows, widens=runners.wide is not None
                )
            else:
                policy = replace(policy, unread_rows=runners.unread_rows)
            if not spec.config.instance_group:
                config.instance_group[0].count = max(1, runners.count)
            samples = read_samples(config, opening.inputs, folder=spec.folder, batched=policy.has_batch_axis)
            for session in runners.every_session:
                with _bounded(session):
                    if known is not None:
                        _warm_up_unmeasured(session, opening, verdict, policy)
                    warm_up(session, samples)
        main = runners.sessions[0]
        model = Model(
            signature=Signature(
                model_name=spec.name,
                version=version,
                inputs=tuple(tensor.caller for tensor in opening.inputs),
                outputs=opening.outputs_served(has_batch_axis=policy.has_batch_axis),
                has_batch_axis=policy.has_batch_axis,
                input_reshapes=_reshapes(opening.inputs),
                output_reshapes=_reshapes(opening.outputs),
                unread_apart=policy.unread_rows > 0,
                max_rows=policy.max_rows,
            ),
            sessions=runners.sessions,
            wide=runners.wide,
            policy=policy,
            budget=self._budget,
            facts=ModelFacts(
                config=config,
                verdict=verdict,
                provider=main.provider,
                provider_reason=opening.placement.reason,
                provider_nodes=dict(first.provider_nodes),
                runners=runners.count,
                runners_reason=runners.reason,
                threads=main.threads,
                remembered=known is not None,
                load_s=time.monotonic() - began_s,
                file_bytes=file_bytes,
                warnings=(*opening.warnings, *self._no_cache(config)),
                notes=opening.notes,
            ),
            lane=self._lane,
            kept=self._kept if config.response_cache.enable else None,
            on_runner_lost=self._on_runner_lost,
        )
        self._normal_priority.submit(model.start).result()
        self._traffic.note(model)
        return model

    def _probed(self, opening: Opening, first: Session) -> Verdict:
        with _bounded(first):
            return probe(
                first,
                max_rows=self._max_batch_rows,
                budget_s=self._probe_budget_s,
                fixed_max_batch=opening.fixed_max_batch,
            )

    def _no_cache(self, config: ModelConfig) -> tuple[str, ...]:
        if self._kept is not None or not config.response_cache.enable:
            return ()
        return ("response_cache has no effect: the server keeps no responses, for cache_bytes is off",)


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


def _warm_up_unmeasured(session: Session, opening: Opening, verdict: Verdict, policy: BatchPolicy) -> None:
    """Run what measuring would have run: the first run of a shape allocates, which no caller shall wait for."""
    names = [spec.name for spec in session.outputs]
    most = verdict.tried_rows(min(policy.max_rows, verdict.best_rows)) if policy.has_batch_axis else 1
    for rows in sorted({1, most, policy.unread_rows or 1}):
        # It ran when it was measured. If it does not now, callers hear why, as they would after measuring.
        with suppress(ServerError):
            session.run(names, opening.made_up(verdict, rows))


def _reshapes(tensors: Sequence[Tensor]) -> dict[str, Reshape]:
    return {tensor.graph.name: tensor.reshape for tensor in tensors if tensor.reshape is not None}
