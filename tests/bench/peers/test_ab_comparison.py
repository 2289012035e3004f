"""Turns: both servers get the same load, in alternating order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bench.peers.ab_comparison import CALLERS, Competitor, Pair
from bench.peers.results import judged_anew, kept, write
from bench.peers.verdict import Measure, Verdict
from bench.serving import Server
from bench.store import Benchmark, Load, Point, Run
from sardonyx_server.load.loops import Target


def test_both_protocols_have_as_many_requests_under_way() -> None:
    """HTTP/1.1 has no streams, so it has more connections."""
    for http1 in (False, True):
        target = Target(address="127.0.0.1:1", method="/predict", messages=(b"",), answer_bytes=0)
        server = Server(address="127.0.0.1:1", pid=1)
        streams = Competitor(name="peer", server=server, target=target, http1=http1).streams
        assert (streams.concurrency, streams.http1) == (CALLERS, http1)
        assert streams.streams == 1 or not http1


def test_a_run_is_stored_with_what_an_earlier_piece_found(tmp_path: Path) -> None:
    """And is read again as it was written; the run says what the last piece does, and that there were more."""
    file = tmp_path / "runs" / "peers.json"
    for model in ("iris", "mlp"):
        point = Point(load=Load(kind="closed", callers=CALLERS), rate_reached_per_s=2.0)
        verdict = Verdict(
            peer="triton",
            model=model,
            question="test_it",
            wording="it",
            measure=Measure.THROUGHPUT,
            pairs=[Pair(ours=point, theirs=point)] * 2,
        )
        write(file, [verdict], {"command": f"measure {model}", "cores": 2})
    run = Run.read(file)
    assert (run.command, run.cores) == ("python -m bench.peers, in 2 pieces, the last: measure mlp", 2)
    assert {(one.name, one.command) for one in run.benchmarks if one.server == "triton"} == {
        ("test_it[triton-iris]", "measure iris"),
        ("test_it[triton-mlp]", "measure mlp"),
    }
    assert all(one.points[0].rate_reached_per_s == 2.0 for one in run.benchmarks)


def test_pieces_are_counted_on_from_a_run_in_small_form(tmp_path: Path) -> None:
    """Such a run says how many they were, and not the command of each."""
    file = tmp_path / "peers.json"
    old = Run(benchmarks=[Benchmark(name="old", scenario="closed")], command="python -m bench.peers, in 30 pieces, the")
    file.write_text(json.dumps(old.as_json()))
    for number, model in enumerate(("iris", "mlp", "mlp")):
        pairs = [Pair(ours=Point(load=Load()), theirs=Point(load=Load()))]
        verdict = Verdict(
            peer="triton", model=model, question="test_it", wording="it", measure=Measure.P99, pairs=pairs
        )
        write(file, [verdict], {"command": f"measure {model}"})
        assert f"in {31 + min(number, 1)} pieces, the last: measure {model}" in Run.read(file).command


def test_an_earlier_piece_is_judged_as_this_one_is() -> None:
    """By its turns, whatever the interval was that it was stored with."""
    pairs = [
        Pair(ours=Point(load=Load(), p99_ms=ours), theirs=Point(load=Load(), p99_ms=1.0)) for ours in (0.9, 0.8, 0.95)
    ]
    verdict = Verdict(
        peer="triton", model="iris", question="test_it", wording="it", measure=Measure.P99, pairs=pairs, seed=7
    )
    theirs, ours = verdict.benchmarks(scenario="ladder", command="c")
    narrow = replace(theirs, figures={**theirs.figures, "ratio_low": 0.8, "ratio_high": 0.95, "met": 1.0})
    (found, same) = judged_anew(Run(benchmarks=[narrow, ours], seed=7)).benchmarks
    assert found.figures == theirs.figures
    assert found.figures["ratio_high"] > 1.0
    assert (found.figures["met"], same) == (0.0, ours)


def test_a_later_piece_of_a_run_keeps_what_it_does_not_measure_anew() -> None:
    """By the names of benchmarks."""
    earlier = [Benchmark(name=name, scenario="closed") for name in ("a", "b")]
    assert [one.name for one in kept(earlier, [Benchmark(name="b", scenario="closed")])] == ["a"]
