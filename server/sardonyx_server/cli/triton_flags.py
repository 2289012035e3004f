"""Advice for flags of tritonserver that this server does not have.

Flags with the same meaning have the same name here and are not listed.
"""

from __future__ import annotations

from typing import Final

__all__ = ["advice"]

_FROM_THE_GRAPH: Final = "leave it out: what config.pbtxt does not say always comes from the graph"
_LEVEL: Final = "use --log-level warning"
_PROBES: Final = "leave it out: --http-port, off unless set, has the probes alone"
_TRACES: Final = "use --trace-rate with --trace-dir or --trace-otlp-endpoint"
_NOTHING: Final = "leave it out: nothing here corresponds to it"

_ADVICE: Final = {
    "--allow-grpc": "leave it out: gRPC is always served",
    "--allow-http": _PROBES,
    "--allow-metrics": "use --metrics-port off",
    "--backend-config": "leave it out: --cores and --providers, and instance_group in config.pbtxt, say how models run",
    "--cache-config": "use --cache-bytes",
    "--disable-auto-complete-config": _FROM_THE_GRAPH,
    "--http-address": "use --host",
    "--http-restricted-api": _PROBES,
    "--log-error": _LEVEL,
    "--log-file": "leave it out: the log goes to standard output",
    "--log-info": _LEVEL,
    "--log-verbose": "use --log-level debug",
    "--log-warning": "use --log-level error",
    "--model-store": "use --model-repository",
    "--response-cache-byte-size": "use --cache-bytes",
    "--strict-model-config": _FROM_THE_GRAPH,
    "--trace-config": _TRACES,
    "--trace-file": _TRACES,
    "--trace-level": _TRACES,
}
# Flags that begin with one of these.
_FAMILIES: Final = {
    "--grpc-keepalive-": "use --keepalive-min-ping-interval-s",
    "--grpc-http2-": "use --keepalive-min-ping-interval-s",
    "--http-header-": _PROBES,
    "--http-thread-": _PROBES,
    "--allow-cpu-metrics": "leave it out: /metrics has all there are",
    "--allow-gpu-metrics": "leave it out: /metrics has all there are",
    "--allow-sagemaker": _NOTHING,
    "--allow-vertex-ai": _NOTHING,
    "--backend-directory": _NOTHING,
    "--buffer-manager-": _NOTHING,
    "--cache-directory": _NOTHING,
    "--cuda-": _NOTHING,
    "--enable-peer-access": _NOTHING,
    "--grpc-infer-": _NOTHING,
    "--grpc-max-response-pool-size": _NOTHING,
    "--host-policy": _NOTHING,
    "--metrics-config": _NOTHING,
    "--metrics-interval-": _NOTHING,
    "--min-supported-compute-": _NOTHING,
    "--model-load-": _NOTHING,
    "--model-namespacing": _NOTHING,
    "--pinned-memory-": _NOTHING,
    "--rate-limit": _NOTHING,
    "--repoagent-directory": _NOTHING,
    "--reuse-": "leave it out: two servers never share a port",
    "--sagemaker-": _NOTHING,
    "--vertex-ai-": _NOTHING,
}


def advice(flag: str) -> str:
    """What to use instead of ``flag``; "" if it is not a flag of Triton."""
    known = _ADVICE.get(flag)
    if known is not None:
        return known
    return next((text for beginning, text in _FAMILIES.items() if flag.startswith(beginning)), "")
