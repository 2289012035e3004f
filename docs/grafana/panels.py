"""What the dashboard shows: rows of panels; a panel is a title, a unit and queries. dashboard.py makes JSON of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["COLUMNS", "ROWS", "Panel", "Query"]

COLUMNS: Final = 24
"""Of Grafana's grid."""

_OF_MODEL: Final = '{instance=~"$instance",model=~"$model"}'
_OF_SERVER: Final = '{instance=~"$instance"}'
_QUANTILES: Final = ("0.5", "0.9", "0.99")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: PromQL.
        legend: How its series are called.
        shape: ``time_series``, ``heatmap``, or ``table`` for what only matters now.
    """

    expr: str
    legend: str
    shape: str = "time_series"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        title: Above it.
        unit: Grafana's name of the unit.
        queries: What it shows.
        kind: Grafana's name of the sort of panel.
        width: Of the 24 columns.
        stacked: Whether series stand on each other.
        about: Behind the small i; "" for none.
    """

    title: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    about: str = ""


def _rate(metric: str, by: str, labels: str = _OF_MODEL) -> str:
    return f"sum by ({by}) (rate({metric}{labels}[$__rate_interval]))"


def _quantiles(metric: str) -> list[Query]:
    return [
        Query(expr=f"histogram_quantile({q}, {_rate(f'{metric}_bucket', 'le')})", legend=f"p{float(q) * 100:g}")
        for q in _QUANTILES
    ]


def _mean(part: str, whole: str, by: str) -> str:
    return f"{_rate(part, by)} / {_rate(whole, by)}"


ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Traffic": (
        Panel(
            title="Requests answered",
            unit="reqps",
            queries=[Query(expr=_rate("nv_inference_request_success", "model"), legend="{{model}}")],
        ),
        Panel(
            title="Rows answered",
            unit="rowsps",
            queries=[Query(expr=_rate("nv_inference_count", "model"), legend="{{model}}")],
        ),
        Panel(
            title="Requests failed",
            unit="reqps",
            queries=[Query(expr=_rate("nv_inference_request_failure", "reason"), legend="{{reason}}")],
            about="REJECTED by the queue, CANCELED by the caller, failed in the BACKEND, or OTHER.",
        ),
        Panel(
            title="Requests waiting",
            unit="short",
            queries=[
                Query(expr=f"sum by (model) (nv_inference_pending_request_count{_OF_MODEL})", legend="{{model}}"),
            ],
        ),
        Panel(
            title="Calls open",
            unit="short",
            queries=[Query(expr=f"sum by (rpc) (sardonyx_open_calls{_OF_SERVER})", legend="{{rpc}}")],
        ),
        Panel(
            title="Answered by the response cache",
            unit="percentunit",
            queries=[
                Query(
                    expr=f"{_rate('nv_cache_num_hits_per_model', 'model')} / "
                    f"({_rate('nv_cache_num_hits_per_model', 'model')} + "
                    f"{_rate('nv_cache_num_misses_per_model', 'model')})",
                    legend="{{model}}",
                ),
            ],
            about="Of the models whose config enables it.",
        ),
    ),
    "Latency": (
        Panel(
            title="End to end, in the server",
            unit="s",
            queries=_quantiles("sardonyx_request_duration_seconds"),
            about="From the arrival of a request to its answer.",
        ),
        Panel(title="Wait in the queue", unit="s", queries=_quantiles("sardonyx_queue_duration_seconds")),
        Panel(title="One run of the model", unit="s", queries=_quantiles("sardonyx_compute_duration_seconds")),
        Panel(
            title="End to end, p99 of each model",
            unit="s",
            queries=[
                Query(
                    expr=f"histogram_quantile(0.99, {_rate('sardonyx_request_duration_seconds_bucket', 'le, model')})",
                    legend="{{model}}",
                ),
            ],
        ),
        Panel(
            title="Where the time of a request goes",
            unit="µs",
            queries=[
                Query(
                    expr=f"sum(rate(nv_inference_{stage}_duration_us{_OF_MODEL}[$__rate_interval])) / "
                    f"sum(rate(nv_inference_request_success{_OF_MODEL}[$__rate_interval]))",
                    legend=legend,
                )
                for stage, legend in (
                    ("queue", "queue"),
                    ("compute_input", "inputs"),
                    ("compute_infer", "model"),
                    ("compute_output", "outputs"),
                )
            ],
            stacked=True,
            about="On average; a batch's time counts for each request in it.",
        ),
        Panel(
            title="Lag of the lane, p99",
            unit="s",
            queries=[
                Query(
                    expr="histogram_quantile(0.99, "
                    f"{_rate('sardonyx_lane_lag_seconds_bucket', 'le, instance', _OF_SERVER)})",
                    legend="{{instance}}",
                ),
            ],
            about="How long its thread at a stretch runs models or sends answers, and takes no calls.",
        ),
    ),
    "Batching": (
        Panel(
            title="Rows of a run, on average",
            unit="short",
            queries=[
                Query(expr=_mean("nv_inference_count", "nv_inference_exec_count", "model"), legend="{{model}}"),
            ],
        ),
        Panel(
            title="Rows of a run",
            unit="short",
            queries=[
                Query(
                    expr=f"sum by (le) (increase(sardonyx_batch_rows_bucket{_OF_MODEL}[$__rate_interval]))",
                    legend="{{le}}",
                    shape="heatmap",
                ),
            ],
            kind="heatmap",
        ),
        Panel(
            title="Why batches were closed",
            unit="ops",
            queries=[Query(expr=_rate("sardonyx_batches_total", "closed_by"), legend="{{closed_by}}")],
            stacked=True,
        ),
    ),
    "Refusals": (
        Panel(
            title="Refused or dropped",
            unit="reqps",
            queries=[Query(expr=_rate("sardonyx_rejections_total", "reason"), legend="{{reason}}")],
            about="Before the model ran for them.",
        ),
        Panel(
            title="Refused before a model was found",
            unit="reqps",
            queries=[Query(expr=_rate("sardonyx_refusals_total", "reason", _OF_SERVER), legend="{{reason}}")],
            about="Unknown names, messages that are none.",
        ),
        Panel(
            title="Share of requests that failed",
            unit="percentunit",
            queries=[
                Query(
                    expr=f"{_rate('nv_inference_request_failure', 'model')} / "
                    f"({_rate('nv_inference_request_failure', 'model')} + "
                    f"{_rate('nv_inference_request_success', 'model')})",
                    legend="{{model}}",
                ),
            ],
        ),
    ),
    "Models and process": (
        Panel(
            title="Versions by state",
            unit="short",
            queries=[Query(expr=f"sum by (state) (sardonyx_model_versions{_OF_SERVER})", legend="{{state}}")],
            stacked=True,
        ),
        Panel(
            title="Models",
            unit="s",
            queries=[
                Query(
                    expr=f"sum by (model, version, provider) (sardonyx_model_info{_OF_MODEL} * "
                    f"on (instance, model, version) group_left () nv_model_load_duration_secs{_OF_MODEL})",
                    legend="",
                    shape="table",
                ),
            ],
            kind="table",
            about="Which execution provider runs each, and the seconds that loading took.",
        ),
        Panel(
            title="Servers",
            unit="short",
            queries=[
                Query(
                    expr=f"sardonyx_build_info{_OF_SERVER} * on (instance) group_left (transport) "
                    f"sardonyx_transport_info{_OF_SERVER}",
                    legend="",
                    shape="table",
                ),
            ],
            kind="table",
        ),
        Panel(
            title="Memory",
            unit="bytes",
            queries=[
                Query(expr=f"process_resident_memory_bytes{_OF_SERVER}", legend="{{instance}} process"),
                Query(expr=f"nv_cpu_memory_used_bytes{_OF_SERVER}", legend="{{instance}} machine"),
                Query(expr=f"nv_cpu_memory_total_bytes{_OF_SERVER}", legend="{{instance}} machine, all"),
            ],
        ),
        Panel(
            title="CPU",
            unit="percentunit",
            queries=[
                Query(
                    expr=f"rate(process_cpu_seconds_total{_OF_SERVER}[$__rate_interval])",
                    legend="{{instance}} process, 100 % is one core",
                ),
                Query(expr=f"nv_cpu_utilization{_OF_SERVER}", legend="{{instance}} machine, 100 % is all cores"),
            ],
        ),
        Panel(
            title="Threads and file descriptors",
            unit="short",
            queries=[
                Query(expr=f"sardonyx_threads{_OF_SERVER}", legend="{{instance}} threads"),
                Query(expr=f"process_open_fds{_OF_SERVER}", legend="{{instance}} descriptors"),
            ],
        ),
    ),
}
