"""Measures one call and stores the result: time by pytest-benchmark, memory in a separate pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from bench.micro.allocations import held_blocks, peak_bytes
from bench.store import Benchmark

__all__ = ["COMMAND", "Measure", "measure"]

T = TypeVar("T")

Measure: TypeAlias = Callable[[Callable[[], T]], T]
"""The fixture ``measured``: measures a call and gives back what one of them returned."""

COMMAND: Final = "make bench-micro"


def measure(benchmark: Any, name: str, question: str, call: Callable[[], T]) -> T:
    """Measure a call repeatedly.

    Args:
        benchmark: The fixture of pytest-benchmark, which is not typed; the results go into its ``extra_info``.
        name: Name of the benchmark.
        question: Its question.
        call: The call to measure.

    Returns:
        What one of the calls returned.
    """
    answer: T = benchmark(call)
    if benchmark.stats is not None:  # None with --benchmark-disable
        figures = {
            "seconds": benchmark.stats.stats.median,
            "allocations": held_blocks(call),
            "peak_bytes": float(peak_bytes(call)),
        }
        stored = Benchmark(name=name, scenario="micro", question=question, command=COMMAND, figures=figures)
        benchmark.extra_info.update(stored.as_json()["extra_info"])
    return answer
