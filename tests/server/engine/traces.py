"""Traces by hand: a sink that keeps them, and a trace of made-up moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.engine.telemetry.tracing import Mark, Stage, Trace
from sardonyx_wire.messages import ModelInferRequest

if TYPE_CHECKING:
    from sardonyx_server.engine.telemetry.tracing import Parent

__all__ = ["KeptTraces", "ended", "id_field"]


class KeptTraces(list[Trace]):
    """A sink that keeps what has ended."""

    def put(self, trace: Trace) -> None:
        """Keep it."""
        self.append(trace)


def id_field(text: str) -> bytes:
    """The id of a request as it travels."""
    return ModelInferRequest(id=text).SerializeToString()


def ended(
    *, model: str = "m", request_id: str = "7", parent: Parent | None = None, outcome: str = "OK", group: int = 0
) -> Trace:
    """A trace whose stages are 10 ns apart."""
    trace = Trace(
        KeptTraces(),
        model=model,
        id_field=id_field(request_id),
        transport="lane",
        parent=parent,
        received_ns=1000,
        group=group,
    )
    trace.version, trace.rows = 3, 2
    trace.began_unix_ns = 5_000_000
    trace.marks += [
        Mark(stage, 1000 + 10 * number, 8 if stage is Stage.BATCHED else None)
        for number, stage in enumerate(Stage)
        if stage is not Stage.RECEIVED
    ]
    trace.outcome = outcome
    return trace
