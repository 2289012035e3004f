"""Traces as OpenTelemetry spans: one span for each sampled request, sent over OTLP/HTTP in the background.

A request whose caller has a trace of its own becomes part of it (W3C Trace Context). Stages are events of the span.
Needs the extra ``otel``. Headers, certificates and time-outs of the exporter are read by OpenTelemetry's own package
from its standard variables (``OTEL_EXPORTER_OTLP_HEADERS`` and others); where to send to is a setting of ours.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.counting.tracing import OK
from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace.export import SpanExporter

    from sardonyx_server.engine.counting.tracing import Trace

__all__ = ["MISSING", "Spans", "is_installed", "otlp_exporter"]

_LOG = logging.getLogger("sardonyx.traces")

MISSING: Final = "OpenTelemetry is not installed: pip install 'sardonyx[otel]'"

_TRACES_PATH: Final = "/v1/traces"
_SERVICE: Final = "inference.GRPCInferenceService"
_METHOD: Final = "ModelInfer"


def is_installed() -> bool:
    """Whether the extra ``otel`` is. Imports next to nothing."""
    try:
        return all(
            importlib.util.find_spec(name) is not None
            for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
        )
    except ModuleNotFoundError:
        return False


def otlp_exporter(endpoint: str) -> SpanExporter:
    """What sends spans to a collector.

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


class Spans:
    """Makes spans of traces. An :class:`~sardonyx_server.observe.traces.Outlet`; used by one thread.

    Args:
        exporter: Where spans go, in batches, on a thread of its own.
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
        # Requests are chosen before they come here. Nothing is left for the end of the process: close() ends it.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sardonyx", service_version)
        self._propagator = TraceContextTextMapPropagator()

    def take(self, traces: Sequence[Trace]) -> None:
        """Make spans of traces and leave them to the exporter."""
        for trace in traces:
            try:
                self._take(trace)
            except Exception:  # noqa: BLE001  # the others may be kept
                _LOG.exception("bug: a trace was not kept")

    def _take(self, trace: Trace) -> None:
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
        """Send what waits. Blocks as long as the exporter does."""
        self._provider.shutdown()
