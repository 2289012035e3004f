"""Depth of the suite: durations, rates and repeats of a full run and of a quick one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FULL", "MODELS", "QUICK", "QUICK_MODELS", "SOAK_S", "Plan"]

MODELS: Final = ("iris", "forest", "mlp", "orientation", "magika", "batches", "rows-mix")
QUICK_MODELS: Final = ("iris", "batches", "magika")
SOAK_S: Final = 1800.0
# With fewer requests one slow one decides about the p99.
_LEAST_REQUESTS: Final = 1000
_MOST_STRETCH: Final = 1.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Loads and durations.

    Attributes:
        quick: Whether it is a quick run.
        load_s: Duration of a load whose percentiles are evaluated.
        rate_s: Duration of a load of which only the rate is evaluated, and of an echo beside a load.
        limit_s: Time for measuring run times in-process.
        shares: Rates of the ladder, as shares of the capacity.
        overload: Rates of the overload benchmark, as multiples of the capacity.
        callers: Numbers of callers in closed loops.
        turns: Number of interleaved turns of loads that are judged by a ratio.
        starts: Number of process starts, for cold starts.
        soak_s: Duration of the soak.
        seed: Seed of arrivals.
    """

    quick: bool
    load_s: float
    rate_s: float
    limit_s: float
    shares: tuple[float, ...]
    overload: tuple[float, ...]
    callers: tuple[int, ...]
    turns: int
    starts: int
    soak_s: float = SOAK_S
    seed: int = 0

    def load_s_at(self, rate_per_s: float) -> float:
        """Duration of a load at a rate: longer if there would be few requests."""
        if self.quick:
            return self.load_s
        return max(self.load_s, min(self.load_s * _MOST_STRETCH, _LEAST_REQUESTS / rate_per_s))


FULL: Final = Plan(
    quick=False,
    load_s=3.5,
    rate_s=1.2,
    limit_s=2.0,
    shares=(0.1, 0.3, 0.5, 0.7, 0.9, 0.95),
    overload=(0.7, 1.0, 1.5, 2.0, 5.0),
    callers=(1, 2, 4, 8, 16, 32, 64),
    turns=5,
    starts=3,
)
QUICK: Final = Plan(
    quick=True,
    load_s=0.8,
    rate_s=0.4,
    limit_s=0.6,
    shares=(0.1, 0.5, 0.7),
    overload=(0.7, 5.0),
    callers=(1, 64),
    turns=1,
    starts=1,
)
