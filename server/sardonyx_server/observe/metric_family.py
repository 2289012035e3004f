"""Definition of a metric family. The metrics themselves are in triton_metrics.py and sardonyx_metrics.py.

Label values are names of models in the repository or from a fixed set, never text sent by a caller: otherwise a caller
could create any number of series (cardinality).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from sardonyx_server.engine.statistics import Histogram

if TYPE_CHECKING:
    from sardonyx_server.observe.procfs import Memory

__all__ = ["MetricFamily", "Series", "ServerSnapshot", "Value", "by_label", "single"]

_Subject = TypeVar("_Subject")

Value = int | float | Histogram
Series = Iterable[tuple[tuple[str, ...], Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFamily(Generic[_Subject]):
    """One metric.

    Attributes:
        name: Full name with its suffix.
        kind: Prometheus's metric type.
        help: One sentence, without the final dot.
        labels: Besides ``model`` and ``version``, which every metric of a version has.
        read: Statistics -> (label values, value) of each series; empty if unknown.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    read: Callable[[_Subject], Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSnapshot:
    """Statistics of the server as a whole at one moment.

    Attributes:
        transport: ``lane`` or ``grpcio``.
        build: Component -> version.
        open_calls: RPC -> calls in progress.
        versions_by_state: State -> number of model versions.
        refusals: Reason -> requests refused before a model was found for them.
        lane_lag: Intervals in which the lane's thread accepted no calls; None without the lane.
        cpu_utilization: Of the machine, from 0 to 1; None if unknown.
        memory: Of the machine; None if unknown.
        threads: Of the process; None if unknown.
    """

    transport: str
    build: Mapping[str, str]
    open_calls: Mapping[str, int]
    versions_by_state: Mapping[str, int]
    refusals: Mapping[str, int]
    lane_lag: Histogram | None
    cpu_utilization: float | None
    memory: Memory | None
    threads: int | None


def single(value: Value | None) -> Series:
    """One series without labels; no series for None."""
    return () if value is None else (((), value),)


def by_label(values: Mapping[str, int]) -> Series:
    """One series per value of the only label."""
    return (((label,), value) for label, value in values.items())
