"""A stored run is read as it was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.store import Benchmark, Load, Point, Run

if TYPE_CHECKING:
    from pathlib import Path

POINT = Point(
    load=Load(arrivals="poisson", rate_per_s=100.0, share_of_capacity=0.5),
    label="during",
    failed={"UNAVAILABLE": 2},
    batch_sizes={"1": 3, "4": 5},
    stages_us={"queue": 12.5},
    histogram="HISTF",
)
RUN = Run(
    benchmarks=[
        Benchmark(
            name="test_p99_at_half_load[iris]",
            scenario="ladder",
            model="iris",
            points=[POINT],
            figures={"capacity_per_s": 200.0},
            remarks=["a remark"],
        )
    ],
    command="make bench",
    cores=2,
    versions={"grpcio": "1.80.0"},
)


def test_a_run_comes_back_from_its_file(tmp_path: Path) -> None:
    """Field by field."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps(RUN.as_json()))
    assert Run.read(file) == RUN


def test_what_later_versions_add_is_passed_over() -> None:
    """And what earlier ones lack has its default."""
    data = RUN.as_json()
    extra = data["benchmarks"][0]["extra_info"]
    extra["later"] = 1
    extra["points"][0] |= {"later": 2}
    del extra["points"][0]["label"]
    (benchmark,) = Run.from_json(data).benchmarks
    assert benchmark.points[0].label == ""
    assert benchmark.points[0].failed == POINT.failed


def test_a_point_without_a_load_has_that_of_the_one_before_it() -> None:
    """Turns are kept so: their load is said once."""
    data = RUN.as_json()
    data["benchmarks"][0]["extra_info"]["points"] = [POINT.as_json(), {"p99_ms": 1.5}]
    (benchmark,) = Run.from_json(data).benchmarks
    assert benchmark.points == [POINT, Point(load=POINT.load, p99_ms=1.5)]


def test_benchmarks_of_others_are_left_out() -> None:
    """pytest-benchmark's file may hold more than the suite's."""
    data = RUN.as_json()
    data["benchmarks"].append({"name": "test_something_else", "extra_info": {}})
    assert Run.from_json(data) == RUN
