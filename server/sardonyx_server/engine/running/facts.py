"""What is known of a version since it was loaded: where it runs, how, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sardonyx_server.engine.measuring.verdict import Verdict
    from sardonyx_wire.messages import ModelConfig

__all__ = ["ModelFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What was found out about a version at load; for people and for metadata.

    Attributes:
        config: Effective ModelConfig: what config.pbtxt says, completed with what the graph and the probe say.
        verdict: Whether batching is possible and pays, and the cost curve.
        provider: Execution provider that owns the most nodes.
        provider_reason: Why this one.
        provider_nodes: Nodes of the graph by provider; empty where onnxruntime does not tell.
        runners: Threads that run batches of this model; 0 where they run inline on the lane.
        runners_reason: Why so many, with the measured rates.
        threads: onnxruntime's threads within one run.
        remembered: Whether verdict and runners follow from what an earlier load of the same content has measured.
        load_s: Time from reading the file to ready.
        file_bytes: Of the model and its external data.
        warnings: What the operator should know: fields without effect, names that were ignored.
        notes: What the operator may like to know: outputs that are served otherwise than the file has them.
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
