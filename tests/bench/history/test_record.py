"""One line of history for each release and machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.history.__main__ import main
from bench.history.record import NotRecordable, Record, add_record, make_record
from bench.store import Benchmark, Load, Point, Run

HALF = Load(arrivals="poisson", rate_per_s=5000.0, share_of_capacity=0.5)
LADDER = Benchmark(
    name="test_rates[iris]",
    scenario="ladder",
    model="iris",
    points=[
        Point(load=replace(HALF, share_of_capacity=0.1), answered=100, p99_ms=0.5),
        Point(load=HALF, answered=100, p99_ms=1.23456),
    ],
    figures={"capacity_per_s": 10_000.0},
)
ALONE = Benchmark(
    name="test_alone[iris]",
    scenario="single",
    model="iris",
    points=[Point(load=Load(kind="closed", callers=1), answered=100, p99_ms=0.25)],
)
RUN = Run(
    benchmarks=[LADDER, ALONE, replace(LADDER, server="triton")],
    versions={"sardonyx": "0.1.0", "grpcio": "1.80.0", "tritonclient": "2.73"},
    cpu="A processor",
    cores=2,
    started="2026-11-26T01:00:00+00:00",
    commit="abc",
)


def test_a_line_keeps_what_the_page_draws() -> None:
    """p99 at half load and of one caller, capacity, and on what they were measured; of our own server alone."""
    assert json.loads(make_record(RUN).as_text()) == {
        "release": "0.1.0",
        "commit": "abc",
        "date": "2026-11-26T01:00:00+00:00",
        "machine": "A processor, 2 cores",
        "versions": {"grpcio": "1.80.0"},
        "p99_ms": {"iris at half load": 1.235, "iris, one caller": 0.25},
        "capacity_per_s": {"iris": 10_000.0},
    }


def test_a_point_in_which_the_generator_was_late_is_not_kept() -> None:
    """Its p99 is not the server's."""
    late = replace(LADDER, points=[replace(point, valid=False) for point in LADDER.points])
    assert make_record(replace(RUN, benchmarks=[late, ALONE])).p99_ms == {"iris, one caller": 0.25}


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (replace(RUN, quick=True), "a quick run is no record: its loads are too short; run make bench"),
        (replace(RUN, versions={}), "the run does not say which release it measured: versions has no 'sardonyx'"),
        (
            replace(RUN, benchmarks=[]),
            "the run has no valid load at half of a capacity and none of one caller: nothing to follow",
        ),
    ],
)
def test_what_is_no_record_is_refused(run: Run, reason: str) -> None:
    """And says why."""
    with pytest.raises(NotRecordable) as raised:
        make_record(run)
    assert str(raised.value) == reason


def test_a_release_has_one_line_for_each_machine(tmp_path: Path) -> None:
    """A second run of the same takes the place of the first; another machine or release gets a line of its own."""
    file = tmp_path / "new" / "releases.jsonl"
    first = make_record(RUN)
    assert not add_record(file, first)
    assert not add_record(file, replace(first, machine="Another, 8 cores"))
    assert not add_record(file, replace(first, release="0.2.0"))
    assert add_record(file, replace(first, commit="def"))
    kept = [json.loads(text) for text in file.read_text().splitlines()]
    assert [(line["release"], line["machine"], line["commit"]) for line in kept] == [
        ("0.1.0", "Another, 8 cores", "abc"),
        ("0.2.0", "A processor, 2 cores", "abc"),
        ("0.1.0", "A processor, 2 cores", "def"),
    ]


def test_the_verb_adds_the_line_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ``python -m bench.history add RUN.json`` does."""
    stored, lines = tmp_path / "run.json", tmp_path / "lines.jsonl"
    stored.write_text(json.dumps(RUN.as_json()))
    assert main(["add", str(stored), "--file", str(lines)]) == 0
    assert capsys.readouterr().out == "added: 0.1.0 on A processor, 2 cores, 2 loads\n"
    assert Record(**json.loads(lines.read_text())).key == ("0.1.0", "A processor, 2 cores")


@pytest.mark.parametrize("content", ["no JSON", "{}", json.dumps(replace(RUN, quick=True).as_json())])
def test_a_file_that_is_no_record_is_named(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and nothing is written."""
    stored, lines = tmp_path / "run.json", tmp_path / "lines.jsonl"
    stored.write_text(content)
    assert main(["add", str(stored), "--file", str(lines)]) == 2
    assert str(stored) in capsys.readouterr().err
    assert not lines.exists()
