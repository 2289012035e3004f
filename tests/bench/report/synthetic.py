"""A stored run that nobody measured: small, with every scenario, the same in every process."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from bench.store import Benchmark, Load, Point, Run
from sardonyx_server.load.latencies import Latencies

__all__ = ["HOSTILE", "point", "run"]

HOSTILE = "</title><script>alert('model')</script> & \"quoted\" <b>"
"""A name that somebody might give a model."""

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
            _ladder("iris", "sardonyx", 20_000, 0.2),
            _ladder("iris", "mlserver", 1_300, 3.0),
            _ladder("iris", "triton", 9_000, 0.5),
            _ladder(HOSTILE, "sardonyx", 900, 4.0),
            _closed("iris", "sardonyx", 20_000, allowance_per_s=24_000),
            _closed("iris", "mlserver", 1_300),
            _closed("iris", "triton", 9_000),
            _overload(),
            _reload(),
            Benchmark(
                name="test_more_than_mlserver[iris]",
                scenario="peers",
                question="Does iris answer more requests a second than MLServer?",
                model="iris",
                server="mlserver",
                command="make bench-peers",
                figures={"ratio": 15.4, "ratio_low": 14.2, "ratio_high": 16.1, "bar": 15.0, "met": 0.0},
            ),
            Benchmark(
                name="test_p99_against_triton[iris]",
                scenario="peers",
                question="Is p99 of iris lower than Triton's at half of its capacity?",
                model="iris",
                server="triton",
                figures={"ratio": 0.61, "ratio_low": 0.55, "ratio_high": 0.70, "bar": 1.0, "met": 1.0},
            ),
            Benchmark(
                name="test_idle",
                scenario="idle",
                figures={"idle_cpu_share": 0.0021, "memory_bytes": 118_000_000},
                remarks=("No connection open.",),
            ),
        ),
    )


def _ladder(model: str, server: str, capacity_per_s: float, service_ms: float) -> Benchmark:
    """Like a queue with one server: the mean grows as 1 / (1 - load). The last point but one is invalid."""
    points: list[Point] = []
    for share in _SHARES:
        load = Load(kind="open", arrivals="poisson", rate_per_s=share * capacity_per_s, share_of_capacity=share)
        one = point(load, mean_ms=service_ms / (1 - share))
        if server == "sardonyx":
            mean_us = one.mean_ms * 1e3
            parts = {
                "transport": 0.1,
                "decode": 0.02,
                "queue": share * 0.8,
                "gather": 0.01,
                "run": 0.07,
                "encode": 0.03,
            }
            stages = {name: mean_us * part / sum(parts.values()) for name, part in parts.items()}
            one = replace(one, floor_p99_ms=one.p99_ms / 1.4, stages_us=stages)
        points.append(replace(one, valid=share != 0.9, slip_share=0.031 if share == 0.9 else 0.002))
    return Benchmark(
        name=f"test_latency_over_load[{model}-{server}]",
        scenario="ladder",
        question=f"How long do callers of {model} wait as the load grows?",
        model=model,
        server=server,
        command=f'make bench ARGS="-k {server}"',
        points=points,
        figures={"capacity_per_s": capacity_per_s},
    )


def _closed(model: str, server: str, capacity_per_s: float, *, allowance_per_s: float | None = None) -> Benchmark:
    points = [
        replace(
            point(Load(kind="closed", callers=callers), mean_ms=0.1 + callers * 1e3 / capacity_per_s),
            rate_reached_per_s=capacity_per_s * callers / (callers + 3),
            allowance_per_s=allowance_per_s,
        )
        for callers in (1, 2, 4, 8, 16, 32, 64)
    ]
    return Benchmark(
        name=f"test_throughput[{model}-{server}]", scenario="closed", model=model, server=server, points=points
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
        figures={"capacity_per_s": 20_000, "peak_goodput_per_s": 19_500},
    )


def _reload() -> Benchmark:
    points = [
        point(Load(rate_per_s=5000, share_of_capacity=0.25), mean_ms=mean_ms, label=label)
        for label, mean_ms in (("before", 0.30), ("during", 0.42), ("after", 0.31))
    ]
    return Benchmark(name="test_reload[iris]", scenario="reload", model="iris", points=points, figures={"lost": 0})
