"""Triton's metrics with its names, types and labels, so that existing dashboards and autoscalers keep working.

Some break Prometheus's naming rules: counters without ``_total``, gauges that end in ``_count``, the unit ``_us``. GPU
metrics are left to dedicated exporters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.observe.metric_family import MetricFamily, Series, ServerSnapshot, by_label, single

if TYPE_CHECKING:
    from sardonyx_server.engine.statistics import Duration, VersionStatistics

__all__ = ["CACHE_METRICS", "SERVER_METRICS", "VERSION_METRICS"]

_NS_PER_US: Final = 1000


def _us(of: Duration) -> Series:
    """Whole microseconds, as in Triton."""
    return single(of.ns // _NS_PER_US)


VERSION_METRICS: Final[tuple[MetricFamily[VersionStatistics], ...]] = (
    MetricFamily(
        name="nv_inference_request_success",
        kind="counter",
        help="Requests answered with outputs, whatever their number of rows",
        read=lambda of: single(of.success.count),
    ),
    MetricFamily(
        name="nv_inference_request_failure",
        kind="counter",
        help="Requests answered with an error: REJECTED by the queue, CANCELED by the caller, of the BACKEND, OTHER",
        labels=("reason",),
        read=lambda of: by_label(of.failures),
    ),
    MetricFamily(
        name="nv_inference_count",
        kind="counter",
        help="Rows answered by a run of the model, without those answered by the response cache",
        read=lambda of: single(of.inference_count),
    ),
    MetricFamily(
        name="nv_inference_exec_count",
        kind="counter",
        help="Runs of the model, each of one batch",
        read=lambda of: single(of.execution_count),
    ),
    MetricFamily(
        name="nv_inference_request_duration_us",
        kind="counter",
        help="Microseconds from the arrival of requests to their responses, including those from the response cache",
        read=lambda of: _us(of.success),
    ),
    MetricFamily(
        name="nv_inference_queue_duration_us",
        kind="counter",
        help="Microseconds that requests spent in the queue",
        read=lambda of: _us(of.queue),
    ),
    MetricFamily(
        name="nv_inference_compute_input_duration_us",
        kind="counter",
        help="Microseconds spent on gathering inputs, counted for each request of a batch",
        read=lambda of: _us(of.compute_input),
    ),
    MetricFamily(
        name="nv_inference_compute_infer_duration_us",
        kind="counter",
        help="Microseconds spent in the model, counted for each request of a batch",
        read=lambda of: _us(of.compute_infer),
    ),
    MetricFamily(
        name="nv_inference_compute_output_duration_us",
        kind="counter",
        help="Microseconds spent on outputs and responses, counted for each request of a batch",
        read=lambda of: _us(of.compute_output),
    ),
    MetricFamily(
        name="nv_inference_pending_request_count",
        kind="gauge",
        help="Requests that are queued now",
        read=lambda of: single(of.pending_requests),
    ),
    MetricFamily(
        name="nv_model_load_duration_secs",
        kind="gauge",
        help="Seconds that loading took, from reading the file to ready",
        read=lambda of: single(of.load_s),
    ),
)
"""Metrics of each ready version."""

CACHE_METRICS: Final[tuple[MetricFamily[VersionStatistics], ...]] = (
    MetricFamily(
        name="nv_cache_num_hits_per_model",
        kind="counter",
        help="Requests answered by the response cache",
        read=lambda of: single(of.cache_hit.count),
    ),
    MetricFamily(
        name="nv_cache_num_misses_per_model",
        kind="counter",
        help="Requests not found in the response cache",
        read=lambda of: single(of.cache_miss.count),
    ),
    MetricFamily(
        name="nv_cache_hit_duration_per_model",
        kind="counter",
        help="Microseconds spent on lookups that hit the response cache",
        read=lambda of: _us(of.cache_hit),
    ),
    MetricFamily(
        name="nv_cache_miss_duration_per_model",
        kind="counter",
        help="Microseconds spent on lookups that missed the response cache, and on filling it",
        read=lambda of: _us(of.cache_miss),
    ),
)
"""Metrics of versions whose config enables the response cache; Triton omits them for others, too."""

SERVER_METRICS: Final[tuple[MetricFamily[ServerSnapshot], ...]] = (
    MetricFamily(
        name="nv_cpu_utilization",
        kind="gauge",
        help="CPU utilization of the machine since the last scrape, from 0 to 1",
        read=lambda of: single(of.cpu_utilization),
    ),
    MetricFamily(
        name="nv_cpu_memory_total_bytes",
        kind="gauge",
        help="Memory of the machine",
        read=lambda of: single(None if of.memory is None else of.memory.total_bytes),
    ),
    MetricFamily(
        name="nv_cpu_memory_used_bytes",
        kind="gauge",
        help="Memory of the machine that is not available to new programs",
        read=lambda of: single(None if of.memory is None else of.memory.used_bytes),
    ),
)
"""Metrics of the machine."""
