"""From pairs to a verdict: a planted slowdown is found and explained, no change passes, weak evidence says so."""

from __future__ import annotations

from dataclasses import replace

from bench.bootstrap import ratio
from bench.gate.attribution import explain, grown_stages
from bench.gate.comparison import AFTER, BEFORE, POINT_S, compare_pairs
from bench.gate.pairs import Pairs
from bench.gate.verdict import Verdict
from bench.store import Benchmark, Point
from tests.bench.gate.points import LOAD, discarded, pairs

# What a run that takes a fifth longer does at half load: requests wait for each other by more than that.
SLOWER = {"run": 1.2, "queue": 1.6}


def test_a_planted_slowdown_of_a_fifth_is_found_and_its_cause_named() -> None:
    """In every one of 50 tries, with about twice the noise that was measured on two shared cores."""
    for seed in range(50):
        found = compare_pairs("chain", "chain", pairs(16, grown=SLOWER, p99_ratio=1.3, seed=seed), seed=seed)
        assert found.verdict is Verdict.SLOWER
        assert "run" in {growth.stage for growth in found.grown}


def test_no_change_is_no_slowdown() -> None:
    """In every one of 50 tries, and nearly always it can be said for sure."""
    verdicts = [compare_pairs("chain", "chain", pairs(16, seed=seed), seed=seed).verdict for seed in range(50)]
    assert Verdict.SLOWER not in verdicts
    assert verdicts.count(Verdict.HOLDS) >= 45


def test_noise_that_could_hide_a_fifth_is_no_pass_without_a_word() -> None:
    """Few pairs of a noisy machine."""
    assert compare_pairs("iris", "iris", pairs(6, noise=0.6, seed=3), seed=3).verdict is Verdict.UNCLEAR


def test_the_queue_is_blamed_only_where_no_work_grew() -> None:
    """A longer wait behind longer runs is their doing."""
    run, queue = pairs(16, grown=SLOWER), pairs(16, grown={"queue": 1.6})
    assert _explained(run).startswith("grew: run by ")
    assert "; in its wake queue by " in _explained(run)
    assert _explained(queue).startswith("grew: queue by ")
    assert "how requests wait or are batched has changed" in _explained(queue)


def test_a_stage_too_small_to_matter_is_no_cause() -> None:
    """Encoding takes 20 us of 3.5 ms; three times that is still nothing."""
    assert grown_stages(*_sides(pairs(16, grown={"encode": 3.0}, noise=0.02)), seed=1) == ()


def test_where_only_the_slowest_requests_grew_it_says_so() -> None:
    """The mean of every stage is what it was."""
    found = compare_pairs("mlp", "mlp", pairs(16, p99_ratio=1.5, noise=0.05), seed=1)
    assert found.verdict is Verdict.SLOWER
    assert found.remarks[0] == "no stage grew in the mean beyond chance: only the slowest requests did"


def test_pairs_in_which_the_generator_was_late_do_not_count() -> None:
    """They are left out of the ratio, and the report says how many."""
    whole = pairs(16)
    found = compare_pairs("iris", "iris", discarded(whole, [0, 5]), seed=1)
    kept = [pair for number, pair in enumerate(whole.pairs) if number not in (0, 5)]
    assert len(found.pairs) == 14
    assert found.p99_ratio == ratio([pair.after.p99_ms for pair in kept], [pair.before.p99_ms for pair in kept], seed=1)
    assert found.remarks == [
        "2 pairs left out: the generator fell behind its schedule, or a request failed",
    ]


def test_requests_that_fail_on_this_checkout_alone_fail_the_gate() -> None:
    """They have no latency, so no p99 shows them; and a pair that is left out must not hide them."""
    whole = pairs(16)
    broken = replace(whole.pairs[3], after=replace(whole.pairs[3].after, failed={"INTERNAL": 2}))
    found = compare_pairs("iris", "iris", replace(whole, pairs=(*whole.pairs[:3], broken, *whole.pairs[4:])), seed=1)
    assert found.verdict is Verdict.FAILS
    assert found.remarks[0] == "failed on this checkout alone: INTERNAL 2"


def test_without_a_pair_that_counts_nothing_was_measured() -> None:
    """No ratio, and no crash."""
    found = compare_pairs("iris", "iris", discarded(pairs(4), range(4)), seed=1)
    assert found.verdict is Verdict.UNMEASURED
    assert found.p99_ratio is None


def test_servers_that_set_themselves_up_differently_are_named() -> None:
    """What they measure at load may differ from one start to the next; then they are not the same server."""
    inline, runner = {"runners": 0, "threads": 1, "max_rows": 64}, {"runners": 1, "threads": 1, "max_rows": 16}
    one = pairs(8)
    differing = Pairs(
        load=LOAD, pairs=one.pairs, point_s=1.5, facts={BEFORE: (inline, inline), AFTER: (inline, runner)}
    )
    assert compare_pairs("mlp", "mlp", differing, seed=1).remarks == [
        (
            "the servers set up the model differently at load: before inline at most 64 rows; "
            "after 1 runners x 1 threads at most 16 rows or inline at most 64 rows"
        ),
    ]


def test_a_stored_comparison_reads_back() -> None:
    """Its points tell which side they are of, and the next comparison finds how long they were measured."""
    found = compare_pairs("iris", "iris", pairs(8, p99_ratio=1.5, noise=0.02), seed=1)
    stored = Benchmark.from_json(found.as_benchmark("make bench-gate").as_json())
    assert [point.label for point in stored.points] == [BEFORE] * 8 + [AFTER] * 8
    assert [point.seed for point in stored.points[8:]] == list(range(8))
    assert stored.figures[POINT_S] == 1.5
    assert stored.figures["met"] == 0.0
    assert stored.figures["ratio_low"] > 1.1
    assert stored.remarks[0] == "slower"


def _sides(one: Pairs) -> tuple[list[Point], list[Point]]:
    return [pair.before for pair in one.pairs], [pair.after for pair in one.pairs]


def _explained(one: Pairs) -> str:
    return explain(grown_stages(*_sides(one), seed=1))
