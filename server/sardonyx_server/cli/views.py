"""What the command line shows about a model, as plain values: made from engine objects, or from a child's JSON.

The only module of the command line that knows the attributes of engine objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from sardonyx_server.engine.models.states import Entry
    from sardonyx_server.engine.running.model import Model

__all__ = [
    "FAILED",
    "READY",
    "CostPoint",
    "ModelView",
    "view_from_json",
    "view_of_model",
    "view_to_json",
    "views_of_entries",
]

READY = "READY"
FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPoint:
    """Measured duration of one run with this number of rows."""

    rows: int
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One version of a model. Fields after ``reason`` are set only if it was loaded.

    ``version`` is 0 if there is none (a folder that is not a model). ``reason`` says why the version is not ready.
    ``max_batch_size`` is the effective one, 0 for a model that takes no batches; ``curve`` is ascending in rows.
    ``tried_shapes`` are the input shapes of a successful run with one row; they are not part of the JSON.
    """

    name: str
    version: int
    state: str
    reason: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    provider: str = ""
    provider_reason: str = ""
    provider_nodes: Mapping[str, int] = field(default_factory=dict)
    runners: int = 0
    runners_reason: str = ""
    threads: int = 0
    inline: bool = False
    max_batch_size: int = 0
    batchable: bool = False
    batching_reason: str = ""
    best_rows: int = 0
    curve: tuple[CostPoint, ...] = ()
    tried_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    load_s: float = 0.0
    config_text: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether requests for this version are answered."""
        return self.state == READY


def view_of_model(model: Model, *, config_text: str = "") -> ModelView:
    """The view of a loaded model; ``config_text`` is its effective ModelConfig if it is to be shown."""
    found = model.info
    return ModelView(
        name=model.name,
        version=model.version,
        state=READY,
        inputs=tuple(model.inputs),
        outputs=tuple(model.outputs),
        provider=found.provider,
        provider_reason=found.provider_reason,
        provider_nodes=dict(found.provider_nodes),
        runners=found.runners,
        runners_reason=found.runners_reason,
        threads=found.threads,
        inline=model.inline,
        max_batch_size=found.config.max_batch_size,
        batchable=found.verdict.batchable,
        batching_reason=found.verdict.reason,
        best_rows=found.verdict.best_rows,
        curve=tuple(CostPoint(rows=point.rows, ms=point.seconds * 1e3) for point in found.verdict.curve),
        tried_shapes=dict(found.verdict.input_shapes),
        load_s=found.load_s,
        config_text=config_text,
        warnings=tuple(found.warnings),
        notes=tuple(found.notes),
    )


def views_of_entries(entries: Mapping[str, Entry]) -> list[ModelView]:
    """Views of all models of a registry, broken ones included, sorted by name and version."""
    views = []
    for name, entry in sorted(entries.items()):
        for number, status in sorted(entry.versions.items()):
            if status.model is not None and status.state.name == READY:
                views.append(view_of_model(status.model))
            else:
                views.append(ModelView(name=name, version=number, state=status.state.name, reason=status.reason))
        # An entry without a problem and without versions was never requested (explicit mode).
        if entry.problem:
            views.append(ModelView(name=name, version=0, state=FAILED, reason=entry.problem))
    return views


def view_to_json(view: ModelView) -> dict[str, Any]:
    """The output of ``--json``, a contract for scripts. Tensor names, shapes and datatypes are the protocol's."""
    document: dict[str, Any] = {"name": view.name, "version": view.version, "state": view.state}
    if view.reason:
        document["reason"] = view.reason
    if view.warnings:
        document["warnings"] = list(view.warnings)
    if view.notes:
        document["notes"] = list(view.notes)
    if view.is_ready:
        document |= {
            "inputs": [_tensor_to_json(spec) for spec in view.inputs],
            "outputs": [_tensor_to_json(spec) for spec in view.outputs],
            "provider": view.provider,
            "provider_reason": view.provider_reason,
            "provider_nodes": dict(view.provider_nodes),
            "runners": view.runners,
            "runners_reason": view.runners_reason,
            "threads": view.threads,
            "inline": view.inline,
            "max_batch_size": view.max_batch_size,
            "batching": {
                "batchable": view.batchable,
                "reason": view.batching_reason,
                "best_rows": view.best_rows,
                "curve": [{"rows": point.rows, "ms": round(point.ms, 6)} for point in view.curve],
            },
            "load_s": round(view.load_s, 6),
        }
    if view.config_text:
        document["config"] = view.config_text
    return document


def view_from_json(document: Mapping[str, Any]) -> ModelView:
    """The inverse of ``view_to_json``, for the output of a child process."""
    batching = document.get("batching", {})
    return ModelView(
        name=document["name"],
        version=document["version"],
        state=document["state"],
        reason=document.get("reason", ""),
        warnings=tuple(document.get("warnings", ())),
        notes=tuple(document.get("notes", ())),
        inputs=tuple(_tensor_from_json(spec) for spec in document.get("inputs", ())),
        outputs=tuple(_tensor_from_json(spec) for spec in document.get("outputs", ())),
        provider=document.get("provider", ""),
        provider_reason=document.get("provider_reason", ""),
        provider_nodes=document.get("provider_nodes", {}),
        runners=document.get("runners", 0),
        runners_reason=document.get("runners_reason", ""),
        threads=document.get("threads", 0),
        inline=document.get("inline", False),
        max_batch_size=document.get("max_batch_size", 0),
        batchable=batching.get("batchable", False),
        batching_reason=batching.get("reason", ""),
        best_rows=batching.get("best_rows", 0),
        curve=tuple(CostPoint(rows=point["rows"], ms=point["ms"]) for point in batching.get("curve", ())),
        load_s=document.get("load_s", 0.0),
        config_text=document.get("config", ""),
    )


def _tensor_to_json(spec: TensorSpec) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": spec.name,
        "datatype": spec.datatype,
        "shape": None if spec.shape is None else list(spec.shape),
    }
    if spec.optional:
        document["optional"] = True
    return document


def _tensor_from_json(document: Mapping[str, Any]) -> TensorSpec:
    shape = document["shape"]
    return TensorSpec(
        name=document["name"],
        datatype=document["datatype"],
        shape=None if shape is None else tuple(shape),
        optional=document.get("optional", False),
    )
