"""Metrics beyond Triton's, named ``sardonyx_*``: latency histograms, reasons of refusals, and build information."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.observe.metric_family import MetricFamily, ServerSnapshot, by_label, single

if TYPE_CHECKING:
    from sardonyx_server.engine.statistics import VersionStatistics

__all__ = ["SERVER_METRICS", "VERSION_METRICS"]

_MS_PER_S: Final = 1000

VERSION_METRICS: Final[tuple[MetricFamily[VersionStatistics], ...]] = (
    MetricFamily(
        name="sardonyx_request_duration_seconds",
        kind="histogram",
        help="Time from the arrival of a request to its response, for requests answered with outputs",
        read=lambda of: single(of.request_s),
    ),
    MetricFamily(
        name="sardonyx_queue_duration_seconds",
        kind="histogram",
        help="Time that a request spent in the queue",
        read=lambda of: single(of.queue_s),
    ),
    MetricFamily(
        name="sardonyx_compute_duration_seconds",
        kind="histogram",
        help="Duration of one run, from gathering its inputs to the model's outputs",
        read=lambda of: single(of.compute_s),
    ),
    MetricFamily(
        name="sardonyx_batch_rows",
        kind="histogram",
        help="Rows of one run",
        read=lambda of: single(of.batch_rows),
    ),
    MetricFamily(
        name="sardonyx_batches_total",
        kind="counter",
        help="Batches by the reason why they were closed",
        labels=("closed_by",),
        read=lambda of: by_label(of.closed_by),
    ),
    MetricFamily(
        name="sardonyx_rejections_total",
        kind="counter",
        help="Requests to this model that were refused, or dropped before they ran, by reason",
        labels=("reason",),
        read=lambda of: by_label(of.rejections),
    ),
    MetricFamily(
        name="sardonyx_last_inference_timestamp_seconds",
        kind="gauge",
        help="Unix time of the last run; 0 for never",
        read=lambda of: single(of.last_inference_ms / _MS_PER_S),
    ),
    MetricFamily(
        name="sardonyx_model_info",
        kind="gauge",
        help="Always 1; the execution provider that owns most of the model's nodes",
        labels=("provider",),
        read=lambda of: (((of.provider,), 1),),
    ),
)
"""Metrics of each ready version."""

SERVER_METRICS: Final[tuple[MetricFamily[ServerSnapshot], ...]] = (
    MetricFamily(
        name="sardonyx_model_versions",
        kind="gauge",
        help="Versions of models by state",
        labels=("state",),
        read=lambda of: by_label(of.versions_by_state),
    ),
    MetricFamily(
        name="sardonyx_open_calls",
        kind="gauge",
        help="gRPC calls in progress",
        labels=("rpc",),
        read=lambda of: by_label(of.open_calls),
    ),
    MetricFamily(
        name="sardonyx_refusals_total",
        kind="counter",
        help="Requests refused before a model was found for them, by reason",
        labels=("reason",),
        read=lambda of: by_label(of.refusals),
    ),
    MetricFamily(
        name="sardonyx_lane_lag_seconds",
        kind="histogram",
        help="Intervals in which the lane's thread ran models or sent responses, so that new calls had to wait",
        read=lambda of: single(of.lane_lag),
    ),
    MetricFamily(
        name="sardonyx_transport_info",
        kind="gauge",
        help="Always 1; the transport of ModelInfer: lane or grpcio",
        labels=("transport",),
        read=lambda of: (((of.transport,), 1),),
    ),
    MetricFamily(
        name="sardonyx_build_info",
        kind="gauge",
        help="Always 1; the versions of this server and its dependencies",
        labels=("version", "grpcio", "onnxruntime", "python"),
        read=lambda of: ((tuple(of.build[part] for part in ("version", "grpcio", "onnxruntime", "python")), 1),),
    ),
    MetricFamily(
        name="sardonyx_threads",
        kind="gauge",
        help="Threads of the server's process",
        read=lambda of: single(of.threads),
    ),
)
"""Metrics of the server as a whole."""
