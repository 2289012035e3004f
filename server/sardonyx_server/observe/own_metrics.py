"""The metrics that Triton lacks: distributions, reasons, what serves and where. All are called ``sardonyx_*``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.observe.family import Family, ServerNumbers, each, one

if TYPE_CHECKING:
    from sardonyx_server.engine.statistics import VersionStatistics

__all__ = ["OF_SERVER", "OF_VERSIONS"]

_MS_PER_S: Final = 1000

OF_VERSIONS: Final[tuple[Family[VersionStatistics], ...]] = (
    Family(
        name="sardonyx_request_duration_seconds",
        kind="histogram",
        help="Time from the arrival of a request to its answer, end to end, of requests answered with outputs",
        read=lambda of: one(of.request_s),
    ),
    Family(
        name="sardonyx_queue_duration_seconds",
        kind="histogram",
        help="Time that a request waited in the queue",
        read=lambda of: one(of.queue_s),
    ),
    Family(
        name="sardonyx_compute_duration_seconds",
        kind="histogram",
        help="Time of one run, from gathering its inputs to the model's answer",
        read=lambda of: one(of.compute_s),
    ),
    Family(
        name="sardonyx_batch_rows",
        kind="histogram",
        help="Rows of one run",
        read=lambda of: one(of.batch_rows),
    ),
    Family(
        name="sardonyx_batches_total",
        kind="counter",
        help="Batches by the reason why nothing more joined them",
        labels=("closed_by",),
        read=lambda of: each(of.closed_by),
    ),
    Family(
        name="sardonyx_rejections_total",
        kind="counter",
        help="Requests to this model that were refused, or dropped before they ran, by reason",
        labels=("reason",),
        read=lambda of: each(of.rejections),
    ),
    Family(
        name="sardonyx_last_inference_timestamp_seconds",
        kind="gauge",
        help="Unix time of the last run; 0 for never",
        read=lambda of: one(of.last_inference_ms / _MS_PER_S),
    ),
    Family(
        name="sardonyx_model_info",
        kind="gauge",
        help="Always 1; the execution provider that owns most of the model's nodes",
        labels=("provider",),
        read=lambda of: (((of.provider,), 1),),
    ),
)
"""Of each version that is ready."""

OF_SERVER: Final[tuple[Family[ServerNumbers], ...]] = (
    Family(
        name="sardonyx_model_versions",
        kind="gauge",
        help="Versions of models by state",
        labels=("state",),
        read=lambda of: each(of.versions_by_state),
    ),
    Family(
        name="sardonyx_open_calls",
        kind="gauge",
        help="gRPC calls that were taken and are not over",
        labels=("rpc",),
        read=lambda of: each(of.open_calls),
    ),
    Family(
        name="sardonyx_refusals_total",
        kind="counter",
        help="Requests that were refused before a model was found for them, by reason",
        labels=("reason",),
        read=lambda of: each(of.refusals),
    ),
    Family(
        name="sardonyx_lane_lag_seconds",
        kind="histogram",
        help="Stretches in which the lane's thread ran models or sent answers, and calls that came had to wait for it",
        read=lambda of: one(of.lane_lag),
    ),
    Family(
        name="sardonyx_transport_info",
        kind="gauge",
        help="Always 1; what serves ModelInfer: the lane, or grpcio's public API",
        labels=("transport",),
        read=lambda of: (((of.transport,), 1),),
    ),
    Family(
        name="sardonyx_build_info",
        kind="gauge",
        help="Always 1; the versions of this server and of what it runs on",
        labels=("version", "grpcio", "onnxruntime", "python"),
        read=lambda of: ((tuple(of.build[part] for part in ("version", "grpcio", "onnxruntime", "python")), 1),),
    ),
    Family(
        name="sardonyx_threads",
        kind="gauge",
        help="Threads of the server's process",
        read=lambda of: one(of.threads),
    ),
)
"""Of the server as a whole."""
