"""What the gate says last, and what its exit status tells a CI."""

from __future__ import annotations

from bench.gate.comparison import Comparison
from bench.gate.exit_status import Status, closing_lines_and_status
from bench.gate.verdict import Verdict


def _of(name: str, verdict: Verdict) -> Comparison:
    return Comparison(name=name, model=name, verdict=verdict)


def test_one_slower_load_fails_the_gate() -> None:
    """Whatever the others are, and whether or not all could be measured."""
    words, status = closing_lines_and_status(
        [_of("iris", Verdict.HOLDS), _of("mlp", Verdict.SLOWER), _of("magika", Verdict.UNMEASURED)]
    )
    assert int(status) == 1
    assert words == [
        "not measured: magika",
        "FAIL: the p99 of mlp has grown by more than a factor of 1.10, beyond chance",
    ]


def test_requests_that_newly_fail_fail_the_gate() -> None:
    """Whatever the p99 of the others is."""
    words, status = closing_lines_and_status([_of("iris", Verdict.FAILS), _of("mlp", Verdict.HOLDS)])
    assert status is Status.WORSE
    assert words == ["FAIL: requests to iris fail that the other server answers"]


def test_a_load_that_was_not_measured_is_no_pass() -> None:
    """Nor is a run without any."""
    assert (
        closing_lines_and_status([_of("iris", Verdict.HOLDS), _of("magika", Verdict.UNMEASURED)])[1]
        is Status.UNMEASURED
    )
    assert closing_lines_and_status([])[1] == Status.UNMEASURED


def test_noise_passes_with_a_warning() -> None:
    """The gate fails on evidence of a slowdown, not on the lack of evidence."""
    words, status = closing_lines_and_status([_of("iris", Verdict.UNCLEAR), _of("mlp", Verdict.HOLDS)])
    assert int(status) == 0
    assert words == [
        (
            "cannot tell on iris: a slowdown by a factor of 1.20 could hide in the noise; measure longer "
            "(--starts, --seconds), or on a quieter machine"
        ),
        "pass: no p99 has grown by more than a factor of 1.10 beyond chance",
    ]
