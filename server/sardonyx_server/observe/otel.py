"""Exports traces as OpenTelemetry spans: one span per sampled request, sent over OTLP/HTTP in the background.

A request that carries a trace context (W3C Trace Context) becomes part of its caller's trace. Stages are events of the
span. Needs the extra ``otel``. OpenTelemetry reads headers, certificates and timeouts of its exporter from its standard
variables (``OTEL_EXPORTER_OTLP_HEADERS`` and others); the endpoint is a setting of this server.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.telemetry.tracing import OK
from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace.export import SpanExporter

    from sardonyx_server.engine.telemetry.tracing import Trace

__all__ = ["MISSING", "OtelExporter", "is_installed", "otlp_exporter"]

_LOG = logging.getLogger("sardonyx.traces")

MISSING: Final = "OpenTelemetry is not installed: pip install 'sardonyx[otel]'"

_TRACES_PATH: Final = "/v1/traces"
_SERVICE: Final = "inference.GRPCInferenceService"
_METHOD: Final = "ModelInfer"


def is_installed() -> bool:
    """Whether the extra ``otel`` is installed. Imports almost nothing."""
    try:
        return all(
            importlib.util.find_spec(name) is not None
            for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
        )
    except ModuleNotFoundError:
        return False


def otlp_exporter(endpoint: str) -> SpanExporter:
    """An exporter that sends spans to a collector.

    Args:
        endpoint: URL of the collector, with or without ``/v1/traces``.

    Raises:
        SettingsError: The extra is not installed.
    """
    if not is_installed():
        raise SettingsError(f"trace_otlp_endpoint is {endpoint!r} but {MISSING}")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    base = endpoint.rstrip("/")
    return OTLPSpanExporter(endpoint=base if base.endswith(_TRACES_PATH) else base + _TRACES_PATH)


class OtelExporter:
    """Converts traces to spans. A :class:`~sardonyx_server.observe.traces.Outlet`; used by one thread.

    Args:
        exporter: Sends the spans in batches, on its own thread.
        service_name: Of the resource.
        service_version: Likewise.
    """

    def __init__(self, exporter: SpanExporter, *, service_name: str, service_version: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": service_name, "service.version": service_version})
        # Requests are sampled before they come here. close() shuts the provider down, so no exit handler is needed.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sardonyx", service_version)
        self._propagator = TraceContextTextMapPropagator()

    def export(self, traces: Sequence[Trace]) -> None:
        """Convert traces to spans and hand them to the exporter."""
        for trace in traces:
            try:
                self._export(trace)
            except Exception:  # noqa: BLE001  # the other traces can still be exported
                _LOG.exception("bug: a trace was not exported")

    def _export(self, trace: Trace) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, Status, StatusCode

        carrier = {}
        if trace.parent is not None:
            carrier = {"traceparent": trace.parent.traceparent, "tracestate": trace.parent.tracestate}
        start_ns = trace.marks[0].at_ns
        span = self._tracer.start_span(
            f"{_SERVICE}/{_METHOD}",
            context=self._propagator.extract(carrier, context=Context()),
            kind=SpanKind.SERVER,
            start_time=trace.began_unix_ns,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": _SERVICE,
                "rpc.method": _METHOD,
                "sardonyx.model": trace.model,
                "sardonyx.version": trace.version,
                "sardonyx.request_id": trace.request_id,
                "sardonyx.rows": trace.rows,
                "sardonyx.transport": trace.transport,
                "sardonyx.outcome": trace.outcome,
            },
        )
        end_ns = trace.began_unix_ns
        for mark in trace.marks:
            end_ns = trace.began_unix_ns + mark.at_ns - start_ns
            attributes = None if mark.batch_rows is None else {"sardonyx.batch_rows": mark.batch_rows}
            span.add_event(mark.stage, attributes, timestamp=end_ns)
        if trace.outcome != OK:
            span.set_status(Status(StatusCode.ERROR, trace.outcome))
        span.end(end_time=end_ns)

    def close(self) -> None:
        """Send pending spans. Blocks as long as the exporter does."""
        self._provider.shutdown()
