"""Traces become spans that carry on the caller's trace, and reach a collector over OTLP/HTTP."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from sardonyx_server.engine.telemetry.tracing import Parent
from sardonyx_server.errors import SettingsError
from sardonyx_server.observe import otel
from sardonyx_server.observe.otel import OtelExporter, otlp_exporter
from tests.server.engine.traces import ended
from tests.server.observe.collector import PATIENCE_S, collector

memory: Any = pytest.importorskip(
    "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="the extra otel is not installed"
)
pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason="the extra otel is not installed")

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = Parent(f"00-{TRACE_ID}-{SPAN_ID}-01", "vendor=1", sampled=True)


@pytest.fixture(autouse=True)
def _no_variables_of_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this machine would lead elsewhere."""
    for name in ("OTEL_SDK_DISABLED", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)


def spans_of(*traces: Any) -> list[Any]:
    """What an exporter gets of them."""
    kept = memory.InMemorySpanExporter()
    one = OtelExporter(kept, service_name="name", service_version="1.2.3")
    one.export(traces)
    one.close()
    return list(kept.get_finished_spans())


def test_a_span_has_the_times_and_the_facts_of_its_trace() -> None:
    """Stages are events, on the wall clock."""
    (span,) = spans_of(ended())
    assert span.name == "inference.GRPCInferenceService/ModelInfer"
    assert span.kind.name == "SERVER"
    assert (span.start_time, span.end_time) == (5_000_000, 5_000_050)
    assert [(event.name, event.timestamp) for event in span.events] == [
        ("RECEIVED", 5_000_000),
        ("QUEUED", 5_000_010),
        ("BATCHED", 5_000_020),
        ("RUN_START", 5_000_030),
        ("RUN_END", 5_000_040),
        ("SENT", 5_000_050),
    ]
    assert dict(span.events[2].attributes) == {"sardonyx.batch_rows": 8}
    assert dict(span.attributes) == {
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
        "sardonyx.model": "m",
        "sardonyx.version": 3,
        "sardonyx.request_id": "7",
        "sardonyx.rows": 2,
        "sardonyx.transport": "lane",
        "sardonyx.outcome": "OK",
    }
    assert span.status.is_unset
    resource = span.resource.attributes
    assert (resource["service.name"], resource["service.version"]) == ("name", "1.2.3")


def test_a_span_carries_on_the_callers_trace() -> None:
    """With its state; one without a caller's begins a trace of its own."""
    child, root = spans_of(ended(parent=PARENT), ended())
    assert f"{child.context.trace_id:032x}" == TRACE_ID
    assert f"{child.parent.span_id:016x}" == SPAN_ID
    assert child.parent.is_remote
    assert child.context.trace_state.to_header() == "vendor=1"
    assert root.parent is None
    assert root.context.trace_id != child.context.trace_id


def test_a_request_that_failed_is_an_error_with_its_reason() -> None:
    """As the caller was told."""
    (span,) = spans_of(ended(outcome="QUEUE_TIMEOUT"))
    assert (span.status.status_code.name, span.status.description) == ("ERROR", "QUEUE_TIMEOUT")


@pytest.mark.parametrize("suffix", ["", "/", "/v1/traces", "/v1/traces/"])
def test_spans_reach_a_collector(suffix: str) -> None:
    """In its own protocol, under its own path."""
    with collector() as (address, sent):
        one = OtelExporter(otlp_exporter(address + suffix), service_name="name", service_version="1")
        one.export([ended(parent=PARENT)])
        one.close()
        path, message = sent.get(timeout=PATIENCE_S)
    assert path == "/v1/traces"
    (span,) = message.resource_spans[0].scope_spans[0].spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert [event.name for event in span.events][:2] == ["RECEIVED", "QUEUED"]
    names = {item.key: item.value.string_value for item in message.resource_spans[0].resource.attributes}
    assert names["service.name"] == "name"


def test_without_the_extra_the_operator_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name."""
    assert otel.is_installed()
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace")
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk", raising=False)
    assert not otel.is_installed()
    with pytest.raises(SettingsError) as caught:
        otlp_exporter("http://collector:4318")
    assert caught.value.message == (
        "trace_otlp_endpoint is 'http://collector:4318' but OpenTelemetry is not installed: "
        "pip install 'sardonyx[otel]'"
    )
