"""Turns: both servers get the same load, in alternating order."""

from __future__ import annotations

from bench.load.result import Target
from bench.peers.duel import CALLERS, Contender
from bench.peers.results import kept
from bench.store import Benchmark
from bench.suite.serving import Server


def test_both_protocols_have_as_many_requests_under_way() -> None:
    """HTTP/1.1 has no streams, so it has more connections."""
    for http1 in (False, True):
        target = Target(address="127.0.0.1:1", method="/predict", request=b"", answer_bytes=0, http1=http1)
        load = Contender(name="peer", server=Server(address="127.0.0.1:1", pid=1), target=target).load
        assert load.concurrency == CALLERS
        assert load.streams == 1 or not http1


def test_a_later_piece_of_a_run_keeps_what_it_does_not_measure_anew() -> None:
    """By the names of benchmarks."""
    earlier = [Benchmark(name=name, scenario="closed") for name in ("a", "b")]
    assert [one.name for one in kept(earlier, [Benchmark(name="b", scenario="closed")])] == ["a"]
