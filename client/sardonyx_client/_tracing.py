"""OpenTelemetry, if the program uses it: a span for each call, and propagation of the trace context (W3C).

A program that has not imported ``opentelemetry.trace`` has no tracing, and then it costs one dict look-up for each
call. The API is sufficient (the extra ``otel`` installs the SDK too); exporting spans is up to the program.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_client._errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["span", "trace_metadata"]

_API: Final = "opentelemetry.trace"
_SERVICE: Final = "inference.GRPCInferenceService"
_NO_SPAN: Final = nullcontext()
_NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})


def span(rpc: str, model: str, address: str) -> AbstractContextManager[None]:
    """A span around one call, current within it; a no-op if the program does not trace.

    Args:
        rpc: Name of the RPC.
        model: Name of the model; "" = the call concerns none.
        address: Address of the server.
    """
    return _open_span(rpc, model, address) if _API in sys.modules else _NO_SPAN


def trace_metadata() -> Mapping[str, str]:
    """Metadata that carries the trace context, from the propagators that the program has set."""
    if _API not in sys.modules:
        return _NO_METADATA
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    # gRPC requires keys in lower case.
    return {key.lower(): value for key, value in carrier.items()}


@contextmanager
def _open_span(rpc: str, model: str, address: str) -> Iterator[None]:
    # Attributes: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
    from opentelemetry.trace import SpanKind, StatusCode, get_tracer

    attributes = {"rpc.system": "grpc", "rpc.service": _SERVICE, "rpc.method": rpc, "server.address": address}
    if model:
        attributes["sardonyx.model"] = model
    with get_tracer("sardonyx_client").start_as_current_span(
        f"{_SERVICE}/{rpc}",
        kind=SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            code = error.code if isinstance(error, ClientError) else None
            if code is not None:
                current.set_attribute("rpc.grpc.status_code", code.value[0])
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR, str(error))
            raise
        current.set_attribute("rpc.grpc.status_code", grpc.StatusCode.OK.value[0])
