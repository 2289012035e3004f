"""The metrics that Triton has, with its names, types and labels: dashboards and autoscalers go on working.

Some break rules of Prometheus's naming: counters without ``_total``, gauges that end in ``_count``, ``_us``. GPUs are
left to the exporters that know them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.observe.family import Family, Series, ServerNumbers, each, one

if TYPE_CHECKING:
    from sardonyx_server.engine.statistics import Duration, VersionStatistics

__all__ = ["OF_CACHES", "OF_SERVER", "OF_VERSIONS"]

_NS_PER_US: Final = 1000


def _us(of: Duration) -> Series:
    """Whole microseconds, as Triton gives them."""
    return one(of.ns // _NS_PER_US)


OF_VERSIONS: Final[tuple[Family[VersionStatistics], ...]] = (
    Family(
        name="nv_inference_request_success",
        kind="counter",
        help="Requests answered with outputs, whatever their number of rows",
        read=lambda of: one(of.success.count),
    ),
    Family(
        name="nv_inference_request_failure",
        kind="counter",
        help="Requests answered with an error: REJECTED by the queue, CANCELED by the caller, of the BACKEND, OTHER",
        labels=("reason",),
        read=lambda of: each(of.failures),
    ),
    Family(
        name="nv_inference_count",
        kind="counter",
        help="Rows that were answered by a run of the model, hence without those that the cache answered",
        read=lambda of: one(of.inference_count),
    ),
    Family(
        name="nv_inference_exec_count",
        kind="counter",
        help="Runs of the model, each of one batch",
        read=lambda of: one(of.execution_count),
    ),
    Family(
        name="nv_inference_request_duration_us",
        kind="counter",
        help="Microseconds from the arrival of requests to their answers, those that the cache answered included",
        read=lambda of: _us(of.success),
    ),
    Family(
        name="nv_inference_queue_duration_us",
        kind="counter",
        help="Microseconds that requests waited in the queue",
        read=lambda of: _us(of.queue),
    ),
    Family(
        name="nv_inference_compute_input_duration_us",
        kind="counter",
        help="Microseconds spent on gathering inputs, counted for each request of a batch",
        read=lambda of: _us(of.compute_input),
    ),
    Family(
        name="nv_inference_compute_infer_duration_us",
        kind="counter",
        help="Microseconds spent in the model, counted for each request of a batch",
        read=lambda of: _us(of.compute_infer),
    ),
    Family(
        name="nv_inference_compute_output_duration_us",
        kind="counter",
        help="Microseconds spent on outputs and answers, counted for each request of a batch",
        read=lambda of: _us(of.compute_output),
    ),
    Family(
        name="nv_inference_pending_request_count",
        kind="gauge",
        help="Requests that wait to be run now",
        read=lambda of: one(of.pending_requests),
    ),
    Family(
        name="nv_model_load_duration_secs",
        kind="gauge",
        help="Seconds that loading took, from reading the file to ready",
        read=lambda of: one(of.load_s),
    ),
)
"""Of each version that is ready."""

OF_CACHES: Final[tuple[Family[VersionStatistics], ...]] = (
    Family(
        name="nv_cache_num_hits_per_model",
        kind="counter",
        help="Requests that the response cache answered",
        read=lambda of: one(of.cache_hit.count),
    ),
    Family(
        name="nv_cache_num_misses_per_model",
        kind="counter",
        help="Requests that the response cache could not answer",
        read=lambda of: one(of.cache_miss.count),
    ),
    Family(
        name="nv_cache_hit_duration_per_model",
        kind="counter",
        help="Microseconds spent on finding answers in the response cache",
        read=lambda of: _us(of.cache_hit),
    ),
    Family(
        name="nv_cache_miss_duration_per_model",
        kind="counter",
        help="Microseconds spent on looking in vain into the response cache, and on filling it",
        read=lambda of: _us(of.cache_miss),
    ),
)
"""Likewise, of models whose config enables the response cache; Triton leaves them out for others, too."""

OF_SERVER: Final[tuple[Family[ServerNumbers], ...]] = (
    Family(
        name="nv_cpu_utilization",
        kind="gauge",
        help="How busy the machine's cores were since the last scrape, from 0 to 1",
        read=lambda of: one(of.cpu_utilization),
    ),
    Family(
        name="nv_cpu_memory_total_bytes",
        kind="gauge",
        help="Memory of the machine",
        read=lambda of: one(None if of.memory is None else of.memory.total_bytes),
    ),
    Family(
        name="nv_cpu_memory_used_bytes",
        kind="gauge",
        help="Memory of the machine that is not available to new programs",
        read=lambda of: one(None if of.memory is None else of.memory.used_bytes),
    ),
)
"""Of the machine."""
