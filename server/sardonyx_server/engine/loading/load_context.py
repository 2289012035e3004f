"""The context of one load: the version's files, its signature and its placement; opens its sessions.

Measures nothing, and decides nothing about batches and runners: see loader.py and runners.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from sardonyx_server.engine.priority import has_low_priority
from sardonyx_server.engine.profiling.probe import batch_axis_refusal
from sardonyx_server.engine.profiling.synthetic_inputs import random_tensor
from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.effective_config import check_against_graph, served_inputs, states_full_shapes, tensors
from sardonyx_server.repository.shapes import is_one_row
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from numpy.typing import NDArray

    from sardonyx_server.engine.profiling.measurement_cache import ContentKey
    from sardonyx_server.engine.profiling.verdict import Verdict
    from sardonyx_server.repository.files import ModelFiles
    from sardonyx_server.repository.spec import ModelSpec
    from sardonyx_server.runtime.placement import Placement, ProviderOption
    from sardonyx_wire.messages import ModelConfig
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["LoadContext", "Runtime"]

_SEED: Final = 7


class Runtime(Protocol):
    """Opens models: ``runtime.backend.OrtBackend``, or a test double."""

    cores: int

    def place(
        self, config: ModelConfig, inputs: tuple[TensorSpec, ...], digest: bytes
    ) -> tuple[Placement, tuple[str, ...]]:
        """Return where the model runs, and warnings. ``digest`` is that of its files."""

    def threads_asked(self, config: ModelConfig) -> int | None:
        """Return the intra-op threads that the config asks for; None where it does not."""

    def open(
        self,
        *,
        config: ModelConfig,
        model_bytes: bytes | None,
        path: Path | None,
        has_external_data: bool,
        signature: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        providers: Sequence[ProviderOption],
        threads: int,
    ) -> Any:  # a Session that also has provider_nodes
        """Open the model."""


class LoadContext:
    """What is known of a version while it is loaded. The constructor blocks: it reads all bytes of the model.

    Args:
        runtime: Opens the sessions.
        spec: The model as it is on disk.
        files: Files of the version; owned by the caller.
        normal_priority_executor: Starts threads that must not inherit a low priority.

    Attributes:
        spec: As given.
        inputs: The inputs that are served, in graph order.
        outputs: In graph order.
        signature: (inputs, outputs) of the graph, with shapes narrowed by the config.
        has_loops: Whether the graph has loops, so that input values may decide how long a run takes.
        placement: Where the model runs, and why.
        warnings: For the operator.
        notes: As ``Graph.notes``.

    Raises:
        LoadFailed: Config and graph contradict each other, or something that the config names is not available.
    """

    def __init__(
        self, runtime: Runtime, spec: ModelSpec, files: ModelFiles, normal_priority_executor: Executor
    ) -> None:
        self.spec = spec
        self.has_loops, self.notes = files.graph.loops, files.graph.notes
        graph = files.graph.signature()
        check_against_graph(spec.config, *graph, source=spec.config_source)
        inputs, self.outputs = tensors(spec.config, *graph)
        # The shapes as narrowed by the config are what the session, the probe and the accelerators get.
        self.signature = tuple(each.graph for each in inputs), tuple(each.graph for each in self.outputs)
        served = {each.name for each in served_inputs(spec.config, graph[0])}
        self.inputs = tuple(each for each in inputs if each.graph.name in served)
        self._digest = files.digest()
        self.placement, self.warnings = runtime.place(
            spec.config, tuple(each.graph for each in self.inputs), self._digest
        )
        self._runtime = runtime
        self._files = files
        self._normal_priority_executor = normal_priority_executor

    def content_key(self) -> ContentKey:
        """Return the key of this version's measurements: its files and its config.

        Providers, threads and cores follow from the config and from what does not change while the process lives. The
        name is left out, so that the same files under several names are measured once.
        """
        config = type(self.spec.config)()
        config.CopyFrom(self.spec.config)
        config.ClearField("name")
        return self._digest, config.SerializeToString(deterministic=True), self.fixed_max_batch

    def check_verdict(self, verdict: Verdict) -> Verdict:
        """Adjust the probe's verdict to the inputs that are served, and check it against the config.

        Raises:
            LoadFailed: The config sets max_batch_size for a model that cannot be batched.
        """
        # The probe leaves optional inputs out. A caller that sets one would set it for the whole batch.
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
    def model_bytes(self) -> int:
        """Size of the model, external data included."""
        return self._files.size_bytes()

    @property
    def on_cpu(self) -> bool:
        """Whether no instance runs on a GPU."""
        return all(instance.kind != "gpu" for instance in self.placement.instances)

    @property
    def fixed_max_batch(self) -> int | None:
        """Most rows of a batch as set by the config: 0 = no batching, None = left to the probe."""
        config = self.spec.config
        if self.spec.declines_batching or states_full_shapes(config, *self.signature):
            return 0
        return config.max_batch_size or None

    def outputs_served(self, *, has_batch_axis: bool) -> tuple[TensorSpec, ...]:
        """Return the outputs as callers see them, with the labels of their label files, or else of the graph.

        Args:
            has_batch_axis: Whether the first axis counts rows, even if the graph declares it as 1.
        """
        labels = self.spec.labels
        specs = [replace(each.caller, labels=labels.get(each.caller.name, each.caller.labels)) for each in self.outputs]
        if not has_batch_axis:
            return tuple(specs)
        return tuple(
            replace(each, shape=(-1, *(each.shape or ())[1:])) if is_one_row(each.shape) else each for each in specs
        )

    def random_inputs(self, verdict: Verdict, rows: int) -> dict[str, NDArray[Any]]:
        """Return random inputs of ``rows`` rows, in the shapes that the probe found to work."""
        rng = np.random.default_rng(_SEED)
        feeds = {}
        for each in self.inputs:
            shape = verdict.input_shapes.get(each.graph.name)
            if shape is not None:
                feeds[each.graph.name] = random_tensor(
                    each.graph.datatype, (rows, *shape[1:]) if rows > 1 else shape, rng=rng
                )
        return feeds

    def open_session(self, providers: Sequence[ProviderOption], *, threads: int, serves: bool = True) -> Any:
        """Open a session; see ``Runtime.open``. Blocks.

        Args:
            providers: In order of preference.
            threads: Intra-op threads. onnxruntime starts all but one of them in this call.
            serves: Whether the session will serve requests, so that its threads must have normal priority; otherwise
                they inherit that of the calling thread.
        """
        open_session = partial(
            self._runtime.open,
            config=self.spec.config,
            model_bytes=self._files.model_bytes,
            path=self._files.path,
            has_external_data=self._files.has_external_data,
            signature=self.signature,
            providers=providers,
            threads=threads,
        )
        if threads == 1 or not serves or not has_low_priority():
            return open_session()
        return self._normal_priority_executor.submit(open_session).result()
