"""The gate's table: a line for each load, and below it what weakens or explains the verdict. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Final

from bench.bootstrap import LEVEL
from bench.gate.comparison import Comparison
from bench.store import Load

__all__ = ["lines"]

_HEAD: Final = ("load", "p99 before", "p99 after", "ratio", f"{LEVEL:.0%} interval", "pairs", "verdict")
_WIDTH: Final = 120


def lines(comparisons: Sequence[Comparison]) -> list[str]:
    """The table, line by line."""
    rows = [_HEAD, *map(_row, comparisons)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    found = []
    for row, remarks in zip(rows, ((), *(one.remarks for one in comparisons)), strict=True):
        found.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        found += [fill(remark, _WIDTH, initial_indent="    ", subsequent_indent="    ") for remark in remarks]
    return found


def _row(one: Comparison) -> tuple[str, ...]:
    ends = one.p99_ratio
    if ends is None:
        return (_load(one.name, one.load), "", "", "", "", "0", one.verdict.value)
    return (
        _load(one.name, one.load),
        f"{one.p99_before_ms:.2f} ms",
        f"{one.p99_after_ms:.2f} ms",
        f"{ends.centre:.3f}",
        f"{ends.low:.3f} .. {ends.high:.3f}",
        str(len(one.pairs)),
        one.verdict.value,
    )


def _load(name: str, load: Load | None) -> str:
    if load is None or load.rate_per_s is None:
        return name
    share = "" if load.share_of_capacity is None else f", {load.share_of_capacity:.0%} of capacity"
    return f"{name}, {load.rate_per_s:,.0f}/s{share}"
