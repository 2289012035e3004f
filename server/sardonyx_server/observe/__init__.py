"""What operators see of a running server: logs, metrics, traces and the HTTP probes.

logs.py             lines for a person, or JSON

ports.py            which HTTP ports there are
http.py             what they answer
http_server.py      uvicorn, seldom woken

metrics.py          what Prometheus scrapes, put together
triton_metrics.py   the metrics that Triton has
own_metrics.py      those that it lacks
host.py             what the kernel says
family.py           what a metric is
exposition.py       metrics -> Prometheus's text

traces.py           keeps traces, on a thread of its own
trace_file.py       as lines in a file
otel.py             as spans of OpenTelemetry
"""
