"""The gate's table."""

from __future__ import annotations

from bench.bootstrap import Interval
from bench.gate.comparison import Comparison
from bench.gate.pairs import Pair
from bench.gate.table import lines
from bench.gate.verdict import Verdict
from tests.bench.gate.points import LOAD, point


def test_the_table_has_a_line_for_each_load_and_its_remarks_below() -> None:
    """Rates, both p99s, the ratio with its interval, and what weakens it."""
    measured = Comparison(
        name="mlp",
        model="mlp",
        load=LOAD,
        pairs=[Pair(before=point(10.0), after=point(12.0))] * 8,
        p99_ratio=Interval(centre=1.2, low=1.15, high=1.25),
        verdict=Verdict.SLOWER,
        remarks=["grew: run by 428 us (2,242 -> 2,675)"],
    )
    missing = Comparison(name="magika", model="magika", remarks=["CaseMissing: not installed"])
    assert lines([measured, missing]) == [
        "load                         p99 before  p99 after  ratio  95% interval    pairs  verdict",
        "mlp, 200/s, 50% of capacity  10.00 ms    12.00 ms   1.200  1.150 .. 1.250  8      slower",
        "    grew: run by 428 us (2,242 -> 2,675)",
        "magika                                                                     0      not measured",
        "    CaseMissing: not installed",
    ]
