"""Merges several stored runs, such as those of the suite and of the peers, into one. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bench.store import Run

__all__ = ["IncompatibleRuns", "merge_runs"]

_SHARED: Final = ("commit", "cpu", "cores", "governor")


class IncompatibleRuns(ValueError):
    """Runs that must not stand on one page, because nothing in them can be compared."""


def merge_runs(runs: Sequence[Run]) -> Run:
    """The benchmarks of all, as one run that began when the first did.

    Args:
        runs: At least one.

    Raises:
        IncompatibleRuns: They are of different commits or machines.
    """
    first = runs[0]
    for one in runs[1:]:
        for name in _SHARED:
            here, there = getattr(first, name), getattr(one, name)
            if here != there:
                raise IncompatibleRuns(
                    f"expected runs of one commit and one machine; {name}: {here!r} of {first.command!r} and "
                    f"{there!r} of {one.command!r}"
                )
    return replace(
        first,
        benchmarks=[benchmark for one in runs for benchmark in one.benchmarks],
        command="; ".join(dict.fromkeys(one.command for one in runs)),
        quick=any(one.quick for one in runs),
        started=min(one.started for one in runs),
        versions={name: version for one in reversed(runs) for name, version in one.versions.items()},
    )
