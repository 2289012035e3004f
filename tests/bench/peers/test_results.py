"""A run that is taken in pieces: what each adds, what it replaces, of which commit and processor each figure is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.peers.ab_comparison import Pair
from bench.peers.results import write
from bench.peers.verdict import Measure, Verdict
from bench.store import Load, Point, Run

if TYPE_CHECKING:
    from pathlib import Path


def _verdict(peer: str, ours: float) -> Verdict:
    pair = Pair(ours=Point(load=Load(), rate_reached_per_s=ours), theirs=Point(load=Load(), rate_reached_per_s=100.0))
    return Verdict(
        peer=peer, model="iris", question="test_it", wording="it", measure=Measure.THROUGHPUT, pairs=[pair, pair]
    )


def _fields(commit: str, cpu: str = "a processor") -> dict[str, Any]:
    return {"command": f"python -m bench.peers --at {commit}", "commit": commit, "cpu": cpu}


def test_a_piece_keeps_what_it_does_not_measure_anew(tmp_path: Path) -> None:
    """And every figure names the commit that it was measured at."""
    file = tmp_path / "run.json"
    write(file, [_verdict("triton", 200.0), _verdict("mosec", 300.0)], _fields("older"))
    write(file, [_verdict("mosec", 400.0)], _fields("newer"))
    run = Run.read(file)
    assert run.commit == "newer"
    theirs = {one.server: one for one in run.benchmarks if one.server != "sardonyx"}
    assert {name: one.commit for name, one in theirs.items()} == {"triton": "older", "mosec": "newer"}
    assert theirs["triton"].figures["ratio"] == pytest.approx(2.0)
    assert theirs["mosec"].figures["ratio"] == pytest.approx(4.0)
    assert run.command == "python -m bench.peers, in 2 pieces, the last: python -m bench.peers --at newer"


def test_every_figure_names_the_processor_that_it_was_measured_on(tmp_path: Path) -> None:
    """A run that was begun on one machine and went on upon another; files of before have that of the run."""
    file = tmp_path / "run.json"
    write(file, [_verdict("triton", 200.0), _verdict("mosec", 300.0)], _fields("older", "first"))
    file.write_text(file.read_text().replace('"cpu": "first"\n   }', '"cpu": ""\n   }'))
    assert [one.cpu for one in Run.read(file).benchmarks] == [""] * 4
    write(file, [_verdict("mosec", 400.0)], _fields("newer", "second"))
    run = Run.read(file)
    assert run.cpu == "second"
    assert {one.name.partition("[")[2]: one.cpu for one in run.benchmarks} == {
        "triton-iris]": "first",
        "triton-iris-sardonyx]": "first",
        "mosec-iris]": "second",
        "mosec-iris-sardonyx]": "second",
    }


def test_figures_without_a_commit_are_of_their_file_s(tmp_path: Path) -> None:
    """As files have them that were written before figures named one."""
    file = tmp_path / "run.json"
    write(file, [_verdict("triton", 200.0)], _fields("older"))
    file.write_text(file.read_text().replace('"commit": "older"', '"commit": ""').replace('""', '"first"', 1))
    write(file, [_verdict("mosec", 300.0)], _fields("newer"))
    assert {one.server: one.commit for one in Run.read(file).benchmarks if one.server != "sardonyx"} == {
        "triton": "first",
        "mosec": "newer",
    }
