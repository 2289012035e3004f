"""What Prometheus scrapes: snapshots, taken when it asks, as families of samples. Nothing here runs between scrapes.

Which metrics there are stands in triton_metrics.py and own_metrics.py, how they are written in exposition.py.
prometheus_client is imported at the first scrape, on the thread that asks: a start does not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, TypeVar

from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.statistics import Histogram, VersionStatistics
from sardonyx_server.observe import own_metrics, triton_metrics
from sardonyx_server.observe.family import Family, ServerNumbers
from sardonyx_server.observe.host import CpuMeter, count_threads, read_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry, Metric

    from sardonyx_server.engine.models.registry import Registry

__all__ = ["MEDIA_TYPE", "Metrics", "Sources"]

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_Subject = TypeVar("_Subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the numbers are. Each function is called at a scrape, on the endpoint's thread, and must not block.

    Attributes:
        registry: Every model.
        versions: -> statistics of each version that is ready.
        transport: ``lane`` or ``grpcio``.
        open_calls: -> RPC -> calls that are not over.
        lane_lag: -> stretches in which the lane's thread took no calls; None where there is no lane.
        build: Part -> version.
    """

    registry: Registry
    versions: Callable[[], Sequence[VersionStatistics]]
    transport: str
    open_calls: Callable[[], Mapping[str, int]]
    lane_lag: Callable[[], Histogram | None]
    build: Mapping[str, str]


class Metrics:
    """The metrics of one server. Not thread-safe: one scrape at a time.

    Args:
        sources: Where the numbers are.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._cpu = CpuMeter()
        self._registry: CollectorRegistry | None = None

    def text(self) -> bytes:
        """All of them as of now, in the format of :data:`MEDIA_TYPE`."""
        from sardonyx_server.observe.exposition import text

        if self._registry is None:
            self._registry = self._new_registry()
        return text(self._registry.collect())

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client: one family after another."""
        sources = self._sources
        versions = sources.versions()
        cached = [one for one in versions if _has_cache(sources.registry, one)]
        yield from _of_versions(triton_metrics.OF_VERSIONS, versions)
        yield from _of_versions(triton_metrics.OF_CACHES, cached)
        yield from _of_versions(own_metrics.OF_VERSIONS, versions)
        numbers = ServerNumbers(
            transport=sources.transport,
            build=sources.build,
            open_calls=sources.open_calls(),
            versions_by_state=_by_state(sources.registry),
            refusals=sources.registry.refusals.counts().rejections,
            lane_lag=sources.lane_lag(),
            cpu_utilization=self._cpu.utilization(),
            memory=read_memory(),
            threads=count_threads(),
        )
        for family in (*triton_metrics.OF_SERVER, *own_metrics.OF_SERVER):
            yield _filled(family, ((numbers, {}),))

    def _new_registry(self) -> CollectorRegistry:
        from prometheus_client import CollectorRegistry, ProcessCollector

        registry = CollectorRegistry()
        registry.register(self)
        # process_*: memory, CPU, file descriptors, start; by names that every Prometheus knows.
        ProcessCollector(registry=registry)
        return registry


def _of_versions(
    families: Iterable[Family[VersionStatistics]], versions: Sequence[VersionStatistics]
) -> Iterator[Metric]:
    labelled = [(one, {"model": one.model, "version": str(one.version)}) for one in versions]
    for family in families:
        yield _filled(family, labelled)


def _filled(family: Family[_Subject], subjects: Iterable[tuple[_Subject, Mapping[str, str]]]) -> Metric:
    """The samples of one family."""
    from prometheus_client import Metric

    metric = Metric(family.name, family.help, family.kind)
    for subject, common in subjects:
        for values, value in family.read(subject):
            labels = {**common, **dict(zip(family.labels, values, strict=True))}
            if isinstance(value, Histogram):
                _add_histogram(metric, labels, value)
            else:
                metric.add_sample(family.name, labels, value)
    return metric


def _add_histogram(metric: Metric, labels: dict[str, str], histogram: Histogram) -> None:
    """Prometheus's buckets hold all that lies below their bound, and the last holds everything."""
    cumulative = tuple(accumulate(histogram.counts))
    bounds = (*(f"{bound:g}" for bound in histogram.bounds), "+Inf")
    for bound, count in zip(bounds, cumulative, strict=True):
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, count)
    metric.add_sample(f"{metric.name}_sum", labels, histogram.total)
    # Of the same counts as the buckets, since they go on changing.
    metric.add_sample(f"{metric.name}_count", labels, cumulative[-1])


def _has_cache(registry: Registry, version: VersionStatistics) -> bool:
    entry = registry.entries().get(version.model)
    status = entry.versions.get(version.version) if entry is not None else None
    return status is not None and status.model is not None and status.model.config.response_cache.enable


def _by_state(registry: Registry) -> dict[str, int]:
    """Every state, so that a series does not come and go. A model that is broken as a whole counts as one version."""
    count = dict.fromkeys((state.value for state in State), 0)
    for entry in registry.entries().values():
        for status in entry.versions.values():
            count[status.state.value] += 1
        # Without a problem and without versions it was never to be loaded: explicit mode.
        if entry.problem and not entry.versions:
            count[State.FAILED.value] += 1
    return count
