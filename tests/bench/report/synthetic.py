"""A stored run that nobody measured: small, with every scenario, the same in every process."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.store import Benchmark, Load, Point, Run
from sardonyx_server.load.latencies import Latencies

__all__ = ["HOSTILE", "INVALID_AT", "point", "run"]

HOSTILE = "</title><script>alert('model')</script> & \"quoted\" <b>"
"""A name that somebody might give a model."""

INVALID_AT = 0.9
"""Share of the capacity at which the generator fell behind."""

_ANSWERS = 4000
_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
_NS_PER_MS = 1e6
_SEED = 7


def point(load: Load, *, mean_ms: float, seed: int = _SEED, answers: int = _ANSWERS, label: str = "") -> Point:
    """Latencies of an exponential distribution with a floor, and all that follows from them."""
    dice = random.Random(f"{seed} {mean_ms}")  # noqa: S311  # nothing secret
    values = [round((0.2 * mean_ms + dice.expovariate(1 / (0.8 * mean_ms))) * _NS_PER_MS) for _ in range(answers)]
    counts: dict[int, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    latencies = Latencies(counts, sum_ns=sum(values), max_ns=max(values, default=0))
    quantiles = {name: seconds * 1e3 for name, seconds in latencies.quantiles_s().items()}
    return Point(
        load=load,
        label=label,
        rate_reached_per_s=load.rate_per_s or 1e3,
        answered=answers,
        p50_ms=quantiles["p50"],
        p90_ms=quantiles["p90"],
        p99_ms=quantiles["p99"],
        p99_9_ms=quantiles["p99.9"],
        max_ms=latencies.max_s * 1e3,
        mean_ms=latencies.mean_s * 1e3,
        histogram=latencies.encode(),
        batch_rows_mean=3.2,
        cpu_s_per_1000=0.12,
        peak_memory_bytes=123_000_000,
        seed=seed,
    )


def run() -> Run:
    """Every scenario: iris on three servers, a second model on ours alone."""
    return Run(
        command="make bench",
        seed=_SEED,
        versions={"python": "3.11.7", "grpcio": "1.85.1"},
        cpu="A processor of tests",
        cores=2,
        started="2026-01-02T03:04:05+00:00",
        commit="0123456789abcdef",
        benchmarks=(
            _ladder("iris", 20_000, 0.2),
            _ladder(HOSTILE, 900, 4.0),
            _closed("iris", 20_000, allowance_per_s=24_000),
            _overload(),
            _reload(),
            *_duel("triton", "p99", {"ratio": 0.61, "ratio_low": 0.55, "ratio_high": 0.70, "bar": 1.0, "met": 1.0}),
            *_duel("mlserver", "rate", {"ratio": 15.4, "ratio_low": 14.2, "ratio_high": 16.1, "bar": 15.0, "met": 0.0}),
            Benchmark(
                name="test_rate_beside[kserve-iris]",
                scenario="closed",
                question="rate, Sardonyx beside kserve",
                model="iris",
                server="kserve",
                remarks=("PeerMissing: kserve cannot be installed here",),
            ),
            Benchmark(
                name="test_idle",
                scenario="idle",
                figures={"idle_cpu_share": 0.0021, "memory_bytes": 118_000_000},
                remarks=("No connection open.",),
            ),
        ),
    )


def _ladder(model: str, capacity_per_s: float, service_ms: float) -> Benchmark:
    """Like a queue with one server: the mean grows as 1 / (1 - load). The last point but one is invalid."""
    points: list[Point] = []
    for share in _SHARES:
        load = Load(kind="open", arrivals="poisson", rate_per_s=share * capacity_per_s, share_of_capacity=share)
        one = point(load, mean_ms=service_ms / (1 - share))
        mean_us = one.mean_ms * 1e3
        parts = {"transport": 0.1, "decode": 0.02, "queue": share * 0.8, "gather": 0.01, "run": 0.07, "encode": 0.03}
        points.append(
            replace(
                one,
                floor_p99_ms=one.p99_ms / 1.4,
                stages_us={name: mean_us * part / sum(parts.values()) for name, part in parts.items()},
                valid=share != INVALID_AT,
                slip_share=0.031 if share == INVALID_AT else 0.002,
            )
        )
    return Benchmark(
        name=f"test_p99_at_half_load[{model}]",
        scenario="ladder",
        question=f"How long do callers of {model} wait as the load grows?",
        model=model,
        command=f"make bench ARGS='--only {model[:4]}'",
        points=points,
        figures={"capacity_per_s": capacity_per_s, "ratio": 1.4, "bar": 1.25, "met": 0.0},
    )


def _duel(server: str, measure: str, figures: Mapping[str, float]) -> tuple[Benchmark, Benchmark]:
    """A peer and our own server, the same two loads three times each; one repeat of the peer's is invalid."""
    scenario = "ladder" if measure == "p99" else "closed"
    loads = [Load(rate_per_s=rate, share_of_capacity=share) for rate, share in ((2700.0, 0.3), (5400.0, 0.6))]
    if scenario == "closed":
        loads = [Load(kind="closed", callers=64)]
    sides = []
    for name, mean_ms in ((server, 2.0), ("sardonyx", 0.4)):
        points = [
            replace(
                point(load, mean_ms=mean_ms * (1 + number), seed=turn, answers=600), rate_reached_per_s=1e3 / mean_ms
            )
            for number, load in enumerate(loads)
            for turn in range(3)
        ]
        if name != "sardonyx":
            points[-1] = replace(points[-1], valid=scenario == "closed", slip_share=0.02)
        sides.append(
            Benchmark(
                name=f"test_{measure}_beside[{server}-iris{'' if name == server else '-sardonyx'}]",
                scenario=scenario,
                question=f"{measure}, Sardonyx beside {server}",
                model="iris",
                server=name,
                command=f"python -m bench.peers --only {server}",
                points=points,
                figures=figures if name == server else {},
            )
        )
    return sides[0], sides[1]


def _closed(model: str, capacity_per_s: float, allowance_per_s: float) -> Benchmark:
    points = [
        replace(
            point(Load(kind="closed", callers=callers), mean_ms=0.1 + callers * 1e3 / capacity_per_s),
            rate_reached_per_s=capacity_per_s * callers / (callers + 3),
            allowance_per_s=allowance_per_s,
        )
        for callers in (1, 2, 4, 8, 16, 32, 64)
    ]
    return Benchmark(
        name=f"test_rate_of_1_to_64_callers[{model}]",
        scenario="closed",
        model=model,
        points=points,
        figures={"ratio": points[-1].rate_reached_per_s / allowance_per_s, "bar": 0.85, "met": 0.0},
    )


def _overload() -> Benchmark:
    points: Sequence[Point] = [
        replace(
            point(Load(rate_per_s=20_000 * times, share_of_capacity=times), mean_ms=8.0 * times),
            goodput_per_s=goodput_per_s,
            failed={"DEADLINE_EXCEEDED": 1234, "RESOURCE_EXHAUSTED": 0},
        )
        for times, goodput_per_s in ((1.5, 19_000.0), (2.0, 18_400.0), (5.0, 15_700.0))
    ]
    return Benchmark(
        name="test_goodput_under_overload[iris]",
        scenario="overload",
        model="iris",
        points=points,
        figures={
            "capacity_per_s": 20_000,
            "peak_goodput_per_s": 19_500,
            "ratio": 15_700 / 19_500,
            "bar": 0.85,
            "met": 0.0,
        },
    )


def _reload() -> Benchmark:
    points = [
        point(Load(rate_per_s=5000, share_of_capacity=0.25), mean_ms=mean_ms, label=label)
        for label, mean_ms in (("before", 0.30), ("during", 0.42), ("after", 0.31))
    ]
    ratio = points[1].p99_ms / (points[0].p99_ms + points[2].p99_ms) * 2
    figures = {"lost": 0.0, "ratio": ratio, "bar": 1.2, "met": 0.0}
    return Benchmark(name="test_p99_during_reload", scenario="reload", points=points, figures=figures)
