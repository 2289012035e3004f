"""What a metric is. Which metrics there are stands in triton_metrics.py and own_metrics.py.

The value of a label is the name of a model in the repository or one of a fixed set, never what a caller sent: a caller
could otherwise fill the memory of whoever collects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from sardonyx_server.engine.statistics import Histogram

if TYPE_CHECKING:
    from sardonyx_server.observe.host import Memory

__all__ = ["Family", "Series", "ServerNumbers", "Value", "each", "one"]

_Subject = TypeVar("_Subject")

Value = int | float | Histogram
Series = Iterable[tuple[tuple[str, ...], Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Generic[_Subject]):
    """One metric.

    Attributes:
        name: In full, with the ending.
        kind: Prometheus's type.
        help: What it says, in one sentence.
        labels: Beside ``model`` and ``version``, which every metric of a version has.
        read: Numbers -> (values of the labels, value) of each series; none where there is nothing to say.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    read: Callable[[_Subject], Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNumbers:
    """What there is to say about the server as a whole, at one moment.

    Attributes:
        transport: ``lane`` or ``grpcio``.
        build: Part -> version.
        open_calls: RPC -> calls that were taken and are not over.
        versions_by_state: State -> versions of models in it.
        refusals: Reason -> requests that were refused before a model was found for them.
        lane_lag: Stretches in which the lane's thread took no calls; None where there is no lane.
        cpu_utilization: Of the machine, from 0 to 1; None where it cannot be told.
        memory: Of the machine; likewise.
        threads: Of the process; likewise.
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


def one(value: Value | None) -> Series:
    """A series without labels of its own; none for None."""
    return () if value is None else (((), value),)


def each(values: Mapping[str, int]) -> Series:
    """A series for each value of the one label."""
    return (((label,), value) for label, value in values.items())
