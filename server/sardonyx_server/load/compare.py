"""Compares two servers under the same load in alternating runs, A B B A, so that drift favours neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from sardonyx_server.load.report import Report

__all__ = ["Comparison", "Ratio", "abba"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One figure of the first server divided by that of the second.

    Attributes:
        name: Of the figure.
        rounds: One ratio per round A B B A; None for a round in which the second server had 0.
    """

    name: str
    rounds: tuple[float | None, ...]

    @property
    def known(self) -> list[float]:
        """The ratios that are not None, ascending."""
        return sorted(ratio for ratio in self.rounds if ratio is not None)

    def __str__(self) -> str:
        if not self.known:
            return "unknown"
        return f"{median(self.known):.3f} ({self.known[0]:.3f} .. {self.known[-1]:.3f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        first: All runs of the first server merged.
        second: Likewise.
        ratios: First server / second server.
    """

    first: Report
    second: Report
    ratios: tuple[Ratio, ...]

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "first": self.first.as_json(),
            "second": self.second.as_json(),
            "ratios": {
                ratio.name: {"median": median(ratio.known) if ratio.known else None, "rounds": list(ratio.rounds)}
                for ratio in self.ratios
            },
        }


def abba(first: Callable[[int], Report], second: Callable[[int], Report], *, rounds: int) -> Comparison:
    """Run both alternately: A B B A in each round.

    Args:
        first: Runs the load on the first server. Its argument is the index of the run on that server, from 0; both
            servers get the same indices, so that both can be sent the same schedules.
        second: The same for the second.
        rounds: At least 1.
    """
    of_first: list[Report] = []
    of_second: list[Report] = []
    for number in range(0, 2 * rounds, 2):
        of_first.append(first(number))
        of_second += [second(number), second(number + 1)]
        of_first.append(first(number + 1))
    pairs = [
        (Report.merged(of_first[number : number + 2]), Report.merged(of_second[number : number + 2]))
        for number in range(0, 2 * rounds, 2)
    ]
    return Comparison(
        first=Report.merged(of_first),
        second=Report.merged(of_second),
        ratios=tuple(
            Ratio(name=name, rounds=tuple(_ratio(figure(one), figure(other)) for one, other in pairs))
            for name, figure in _FIGURES.items()
        ),
    )


def _ratio(one: float, other: float) -> float | None:
    return one / other if other else None


def _percentile(percentile: float) -> Callable[[Report], float]:
    return lambda report: report.latencies.percentile_s(percentile)


_FIGURES: Final[Mapping[str, Callable[[Report], float]]] = {
    "rate": lambda report: report.rate,
    "p50": _percentile(50),
    "p99": _percentile(99),
}
