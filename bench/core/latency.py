"""The bar of single-request latency: what the server adds to a bare echo and one run of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Final

from bench.arms import Sample, measure_in_turns
from bench.bars import Bar, Outcome
from bench.cases import make
from bench.limits.allowance import ROW_SHARE
from bench.load.result import LoadResult, Streams
from bench.placement import FREE, placed, placements
from bench.testbed import Plan, Testbed, turns_as_json

__all__ = ["LATENCY", "latency"]

LATENCY: Final = Bar(name="iris one at a time, of echo + one run, mean", target=1.15, at_least=False)
_US: Final = 1e6


def latency(plan: Plan) -> list[Outcome]:
    """Wherever the scheduler puts the two processes, which is the bar; and on cores given, which explains it."""
    with ExitStack() as stack:
        testbed = Testbed(plan, make("iris", plan.folder), Streams(connections=1, streams=1), stack)
        arms = [testbed.server("server"), testbed.echo()]
        run_s = testbed.reference.run_s(budget_s=plan.seconds * ROW_SHARE)
        where = placements()
        found: dict[str, list[dict[str, Sample]]] = {}
        for placement in where:
            with placed(placement, [arm.server.pid for arm in arms]):
                seconds = plan.seconds / len(where)
                found[placement.name] = list(
                    measure_in_turns(arms, turns=plan.turns, seconds=seconds, record_each=True)
                )
    remarks = [f"one run {run_s * _US:.0f} us", *(f"{name}: {_remark(turns, run_s)}" for name, turns in found.items())]
    return [
        Outcome(
            bar=LATENCY,
            values=_ratios(found[FREE.name], run_s, _mean_s),
            remark="; ".join(remarks),
            details={"run_s": run_s, "turns": {name: turns_as_json(turns) for name, turns in found.items()}},
        )
    ]


def _ratios(
    turns: Sequence[Mapping[str, Sample]], run_s: float, latency_s: Callable[[LoadResult], float]
) -> list[float]:
    return [latency_s(turn["server"].load) / (latency_s(turn["echo"].load) + run_s) for turn in turns]


def _remark(turns: Sequence[Mapping[str, Sample]], run_s: float) -> str:
    """Medians over the turns of mean, median and 99th percentile, and of the ratios."""
    arms = (f"{name} {_three([turn[name].load for turn in turns])}" for name in ("server", "echo"))
    means, medians = (median(_ratios(turns, run_s, value)) for value in (_mean_s, _median_s))
    return f"{', '.join(arms)} us mean/median/p99, ratio {means:.2f} of means, {medians:.2f} of medians"


def _three(loads: Sequence[LoadResult]) -> str:
    return "/".join(f"{median(map(value, loads)) * _US:.0f}" for value in (_mean_s, _median_s, _p99_s))


def _mean_s(load: LoadResult) -> float:
    return load.mean_s


def _median_s(load: LoadResult) -> float:
    return _recorded(load.median_s)


def _p99_s(load: LoadResult) -> float:
    return _recorded(load.p99_s)


def _recorded(latency_s: float | None) -> float:
    if latency_s is None:
        raise ValueError("single latencies were not recorded (a bug)")
    return latency_s
