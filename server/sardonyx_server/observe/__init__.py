"""Observability of a running server: logs, metrics, traces and the HTTP health probes.

logs.py               logging: console lines or JSON

ports.py              the HTTP ports of a server
http.py               probes and /metrics on one port
http_server.py        uvicorn with few wake-ups and an idle timeout

metrics.py            the collector that Prometheus scrapes
triton_metrics.py     the metrics that Triton has
sardonyx_metrics.py   metrics beyond Triton's
procfs.py             CPU, memory and threads from /proc
metric_family.py      definition of a metric
exposition.py         Prometheus's text exposition format

traces.py             exports traces on a background thread
trace_file.py         to a file, as JSON lines
otel.py               to a collector, as OpenTelemetry spans
"""
