"""Probing a model made of a function, by a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sardonyx_server.engine.profiling.probe import Verdict, probe
from sardonyx_server.errors import ExecutionFailed
from sardonyx_server.runtime.thread_cpu_time import ThreadCpuTime
from sardonyx_wire.tensors import TensorSpec
from tests.server.engine.sessions import Arrays, FunctionSession, spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

MS = 1e-3


def affine(base_s: float, row_s: float) -> Callable[[int, int], float]:
    """A cost of tau0 + alpha * rows."""
    return lambda rows, _run: base_s + row_s * rows


def session(
    answer: Callable[[NDArray[Any]], NDArray[Any]] = lambda x: x * 2,
    *,
    cost_s: Callable[[int, int], float] | None = None,
    output: TensorSpec | None = None,
) -> FunctionSession:
    """A model of one input x [-1,4] and one output y."""
    return FunctionSession(
        [spec("x")], [output or spec("y")], lambda feeds: [answer(feeds["x"])], cost_s=cost_s or affine(1 * MS, 0)
    )


def run_probe(model_session: FunctionSession, **options: Any) -> Verdict:
    """Probe by the session's own clock, with a core to itself."""
    clock = model_session.clock
    return probe(model_session, clock=clock, own=lambda: ThreadCpuTime(clock(), 0), **options)


def points(verdict: Verdict) -> list[tuple[int, float]]:
    """The curve as (rows, milliseconds)."""
    return [(point.rows, round(point.seconds / MS, 6)) for point in verdict.curve]


def failing(*_: object) -> Arrays:
    """Answer nothing: a model that raises on every input."""
    raise ExecutionFailed("node 'Gather_3':\n  index out of range")
