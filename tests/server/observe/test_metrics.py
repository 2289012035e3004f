"""Metrics of hand-made numbers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.statistics import Histogram
from sardonyx_server.errors import NotFound
from sardonyx_server.observe import sardonyx_metrics, triton_metrics
from sardonyx_server.observe.metrics import MetricsCollector, MetricSources
from sardonyx_wire.messages import ModelConfig
from tests.server.observe.snapshots import statistics
from tests.server.rpc.doubles import failed, loading, ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.statistics import VersionStatistics
    from sardonyx_server.observe.metric_family import MetricFamily

LINUX = sys.platform == "linux"
OF_THE_KERNEL = {"nv_cpu_utilization", "nv_cpu_memory_total_bytes", "nv_cpu_memory_used_bytes", "sardonyx_threads"}
FAMILIES: tuple[MetricFamily[Any], ...] = (
    *triton_metrics.VERSION_METRICS,
    *triton_metrics.CACHE_METRICS,
    *triton_metrics.SERVER_METRICS,
    *sardonyx_metrics.VERSION_METRICS,
    *sardonyx_metrics.SERVER_METRICS,
)
LAG = Histogram(bounds=(0.001,), counts=(9, 1), total=0.5)


def metrics(*versions: VersionStatistics, registry: Registry | None = None, **facts: Any) -> MetricsCollector:
    """Metrics of these versions."""
    facts.setdefault("lane_lag", lambda: LAG)
    return MetricsCollector(
        MetricSources(
            registry=registry or Registry(),
            versions=lambda: versions,
            transport="lane",
            open_calls=lambda: {"ModelInfer": 3},
            build={"version": "1", "grpcio": "2", "onnxruntime": "3", "python": "4"},
            **facts,
        )
    )


def lines(of: MetricsCollector, start: str) -> Sequence[str]:
    """The samples whose line begins so."""
    return [line for line in of.text().decode().splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nv_inference_request_success", "1"),
        ("nv_inference_count", "40"),
        ("nv_inference_exec_count", "5"),
        ("nv_inference_request_duration_us", "1000"),
        ("nv_inference_queue_duration_us", "2000"),
        ("nv_inference_compute_input_duration_us", "3000"),
        ("nv_inference_compute_infer_duration_us", "4000"),
        ("nv_inference_compute_output_duration_us", "5000"),
        ("nv_inference_pending_request_count", "2"),
        ("nv_model_load_duration_secs", "0.25"),
        ("sardonyx_last_inference_timestamp_seconds", "1700000000.25"),
    ],
)
def test_a_number_of_a_version_has_the_labels_of_triton(name: str, value: str) -> None:
    """Of the model and the version, and no other."""
    assert lines(metrics(statistics()), f"{name}{{") == [f'{name}{{model="iris",version="1"}} {value}']


def test_failures_have_all_reasons_of_triton_always() -> None:
    """So that a rate can be taken before the first failure."""
    assert lines(metrics(statistics()), "nv_inference_request_failure{") == [
        f'nv_inference_request_failure{{model="iris",reason="{reason}",version="1"}} {count}'
        for reason, count in (("REJECTED", 0), ("CANCELED", 0), ("BACKEND", 1), ("OTHER", 0))
    ]


def test_a_histogram_has_cumulative_buckets() -> None:
    """The last one holds everything, as the count does."""
    name = "sardonyx_request_duration_seconds"
    assert lines(metrics(statistics()), name) == [
        f'{name}_bucket{{le="0.001",model="iris",version="1"}} 3',
        f'{name}_bucket{{le="0.1",model="iris",version="1"}} 5',
        f'{name}_bucket{{le="+Inf",model="iris",version="1"}} 6',
        f'{name}_sum{{model="iris",version="1"}} 1.75',
        f'{name}_count{{model="iris",version="1"}} 6',
    ]


def test_reasons_and_providers_are_labels() -> None:
    """Of fixed sets."""
    shown = metrics(statistics())
    assert 'sardonyx_batches_total{closed_by="full",model="iris",version="1"} 4' in lines(shown, "sardonyx_b")
    assert 'sardonyx_rejections_total{model="iris",reason="queue_full",version="1"} 6' in lines(shown, "sardonyx_r")
    assert lines(shown, "sardonyx_model_info") == [
        'sardonyx_model_info{model="iris",provider="CPUExecutionProvider",version="1"} 1'
    ]


def test_each_version_has_series_of_its_own() -> None:
    """Two versions of one model, and another model."""
    shown = metrics(statistics("a", 1), statistics("a", 2), statistics("b", 1))
    assert len(lines(shown, "nv_inference_count{")) == 3
    # One header for each family, however many series it has.
    assert len([line for line in shown.text().splitlines() if line == b"# TYPE nv_inference_count counter"]) == 1


def test_only_models_with_a_cache_have_its_metrics() -> None:
    """As with Triton."""
    registry = Registry()
    ready(registry, "plain")
    ready(registry, "cached", config=ModelConfig(name="cached", response_cache={"enable": True}))
    shown = metrics(statistics("plain"), statistics("cached"), statistics("gone"), registry=registry)
    assert lines(shown, "nv_cache_") == [
        'nv_cache_num_hits_per_model{model="cached",version="1"} 6',
        'nv_cache_num_misses_per_model{model="cached",version="1"} 7',
        'nv_cache_hit_duration_per_model{model="cached",version="1"} 6000',
        'nv_cache_miss_duration_per_model{model="cached",version="1"} 7000',
    ]


def test_versions_are_counted_by_state() -> None:
    """A broken model counts too, one that was never to be loaded does not; a state without versions is there with 0."""
    registry = Registry()
    ready(registry, "a", 1)
    ready(registry, "a", 2)
    loading(registry, "b")
    failed(registry, "c", "the file is empty")
    registry.set_problem("d", "config.pbtxt is none")
    registry.set_problem("never loaded", "")
    shown = metrics(registry=registry)
    counts = {line.partition("=")[2] for line in lines(shown, "sardonyx_model_versions")}
    assert counts >= {'"READY"} 2', '"LOADING"} 1', '"FAILED"} 2', '"DRAINING"} 0'}


def test_refusals_before_a_model_was_found_have_no_model() -> None:
    """Its name would be the caller's."""
    registry = Registry()
    registry.refusals.count(NotFound("unknown model 'x'"))
    shown = metrics(registry=registry)
    assert 'sardonyx_refusals_total{reason="not_found"} 1' in lines(shown, "sardonyx_refusals_total")
    assert 'sardonyx_refusals_total{reason="bad_request"} 0' in lines(shown, "sardonyx_refusals_total")


def test_the_server_says_what_it_is() -> None:
    """Transport, calls, versions of its parts, the lane's lag."""
    shown = metrics()
    assert lines(shown, "sardonyx_open_calls") == ['sardonyx_open_calls{rpc="ModelInfer"} 3']
    assert lines(shown, "sardonyx_transport") == ['sardonyx_transport_info{transport="lane"} 1']
    assert lines(shown, "sardonyx_build") == [
        'sardonyx_build_info{grpcio="2",onnxruntime="3",python="4",version="1"} 1'
    ]
    assert lines(shown, "sardonyx_lane_lag_seconds") == [
        'sardonyx_lane_lag_seconds_bucket{le="0.001"} 9',
        'sardonyx_lane_lag_seconds_bucket{le="+Inf"} 10',
        "sardonyx_lane_lag_seconds_sum 0.5",
        "sardonyx_lane_lag_seconds_count 10",
    ]
    assert lines(metrics(lane_lag=lambda: None), "sardonyx_lane_lag_seconds") == []


def test_two_servers_in_one_process_do_not_meet() -> None:
    """No registry is shared."""
    assert lines(metrics(statistics("a")), "nv_inference_count") == ['nv_inference_count{model="a",version="1"} 40']
    assert lines(metrics(statistics("b")), "nv_inference_count") == ['nv_inference_count{model="b",version="1"} 40']


def test_a_scrape_shows_what_is_then() -> None:
    """Nothing is kept from the scrape before."""
    versions = [statistics("a")]
    shown = metrics()
    object.__setattr__(shown._sources, "versions", lambda: versions)
    assert len(lines(shown, "nv_inference_count")) == 1
    versions.clear()
    assert lines(shown, "nv_inference_count") == []


def test_every_family_is_written_with_its_type_and_its_help() -> None:
    """As a parser reads it."""
    registry = Registry()
    ready(registry, "iris", config=ModelConfig(name="iris", response_cache={"enable": True}))
    read = {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(metrics(statistics(), registry=registry).text().decode())
    }
    for family in FAMILIES:
        name = family.name.removesuffix("_total") if family.kind == "counter" else family.name
        if LINUX or family.name not in OF_THE_KERNEL:
            assert read[name] == (family.kind, family.help)


def test_names_are_of_two_kinds_and_come_once() -> None:
    """Triton's, and ours."""
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("nv_", "sardonyx_")) for name in names)
