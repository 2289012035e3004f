"""Facts recorded when a version was loaded: where it runs, how, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sardonyx_server.engine.profiling.verdict import Verdict
    from sardonyx_wire.messages import ModelConfig

__all__ = ["ModelInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What was determined about a version at load; shown to people and in metadata.

    Attributes:
        config: Effective ModelConfig: config.pbtxt, completed from the graph and the probe.
        verdict: Whether batching is possible and worthwhile, and the cost curve.
        provider: Execution provider that owns the most nodes.
        provider_reason: Why this provider was chosen.
        provider_nodes: Number of graph nodes by provider; empty where onnxruntime does not tell.
        runners: Threads that run batches of this model; 0 = they run inline on the lane.
        runners_reason: Why that number, with the measured rates.
        threads: Intra-op threads of one run.
        remembered: Whether verdict and runners come from the measurements of an earlier load of the same content.
        load_s: Time from reading the files until the model was ready.
        file_bytes: Size of the model and its external data.
        warnings: For the operator: fields without effect, ignored names.
        notes: For the operator: outputs that are served in another form than the file has.
    """

    config: ModelConfig
    verdict: Verdict
    provider: str
    provider_reason: str
    provider_nodes: dict[str, int]
    runners: int
    runners_reason: str
    threads: int
    remembered: bool
    load_s: float
    file_bytes: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
