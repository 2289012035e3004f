"""The metrics collector: takes snapshots at each scrape and turns them into metric families. Idle between scrapes.

The metrics are defined in triton_metrics.py and sardonyx_metrics.py; exposition.py writes them. prometheus_client is
imported at the first scrape, on the scraping thread, so that it does not delay the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, TypeVar

from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.statistics import Histogram, VersionStatistics
from sardonyx_server.observe import sardonyx_metrics, triton_metrics
from sardonyx_server.observe.metric_family import MetricFamily, ServerSnapshot
from sardonyx_server.observe.procfs import CpuMeter, count_threads, read_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry, Metric

    from sardonyx_server.engine.models.registry import Registry

__all__ = ["MEDIA_TYPE", "MetricSources", "MetricsCollector"]

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_Subject = TypeVar("_Subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSources:
    """The sources of the metrics. Each function is called at a scrape, on the endpoint's thread, and must not block.

    Attributes:
        registry: Every model.
        versions: Returns the statistics of each ready version.
        transport: ``lane`` or ``grpcio``.
        open_calls: Returns RPC -> calls in progress.
        lane_lag: Returns intervals in which the lane's thread accepted no calls; None without the lane.
        build: Component -> version.
    """

    registry: Registry
    versions: Callable[[], Sequence[VersionStatistics]]
    transport: str
    open_calls: Callable[[], Mapping[str, int]]
    lane_lag: Callable[[], Histogram | None]
    build: Mapping[str, str]


class MetricsCollector:
    """Collects the metrics of one server. Not thread-safe: one scrape at a time.

    Args:
        sources: The sources of the metrics.
    """

    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources
        self._cpu = CpuMeter()
        self._registry: CollectorRegistry | None = None

    def text(self) -> bytes:
        """All current metrics in the format of :data:`MEDIA_TYPE`."""
        from sardonyx_server.observe.exposition import text

        if self._registry is None:
            self._registry = self._new_registry()
        return text(self._registry.collect())

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families; called by prometheus_client."""
        sources = self._sources
        versions = sources.versions()
        cached = [one for one in versions if _has_cache(sources.registry, one)]
        yield from _of_versions(triton_metrics.VERSION_METRICS, versions)
        yield from _of_versions(triton_metrics.CACHE_METRICS, cached)
        yield from _of_versions(sardonyx_metrics.VERSION_METRICS, versions)
        snapshot = ServerSnapshot(
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
        for family in (*triton_metrics.SERVER_METRICS, *sardonyx_metrics.SERVER_METRICS):
            yield _sampled(family, ((snapshot, {}),))

    def _new_registry(self) -> CollectorRegistry:
        from prometheus_client import CollectorRegistry, ProcessCollector

        registry = CollectorRegistry()
        registry.register(self)
        # The standard process_* metrics: memory, CPU, file descriptors, start time.
        ProcessCollector(registry=registry)
        return registry


def _of_versions(
    families: Iterable[MetricFamily[VersionStatistics]], versions: Sequence[VersionStatistics]
) -> Iterator[Metric]:
    labelled = [(one, {"model": one.model, "version": str(one.version)}) for one in versions]
    for family in families:
        yield _sampled(family, labelled)


def _sampled(family: MetricFamily[_Subject], subjects: Iterable[tuple[_Subject, Mapping[str, str]]]) -> Metric:
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
    """Add a histogram. Prometheus's buckets are cumulative; the last one, +Inf, counts everything."""
    cumulative = tuple(accumulate(histogram.counts))
    bounds = (*(f"{bound:g}" for bound in histogram.bounds), "+Inf")
    for bound, count in zip(bounds, cumulative, strict=True):
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, count)
    metric.add_sample(f"{metric.name}_sum", labels, histogram.total)
    # From the same copy of the counts as the buckets, since they keep changing.
    metric.add_sample(f"{metric.name}_count", labels, cumulative[-1])


def _has_cache(registry: Registry, version: VersionStatistics) -> bool:
    entry = registry.entries().get(version.model)
    status = entry.versions.get(version.version) if entry is not None else None
    return status is not None and status.model is not None and status.model.config.response_cache.enable


def _by_state(registry: Registry) -> dict[str, int]:
    """Versions per state, including states with none, so that series persist. A broken model counts as one version."""
    count = dict.fromkeys((state.value for state in State), 0)
    for entry in registry.entries().values():
        for status in entry.versions.values():
            count[status.state.value] += 1
        # An entry without a problem and without versions was never requested (explicit mode).
        if entry.problem and not entry.versions:
            count[State.FAILED.value] += 1
    return count
