"""OpenTelemetry in the client: a span for each call and its context on the wire, where the program traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from sardonyx_wire.messages import ServerReadyResponse
from tests.client.servers import TinyServer, echo, refuse, say

# In a process of its own: a program sets up its traces once.
TRACED = """
import asyncio, json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sardonyx_client import AsyncClient, Client, ClientError

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
with trace.get_tracer("program").start_as_current_span("outer"), Client(sys.argv[1]) as client:
    client.infer("m", x=[1])
    client.ready()
    try:
        client.metadata("m")
    except ClientError:
        pass

    async def converse():
        async with AsyncClient(sys.argv[1], metadata={"traceparent": "mine"}) as asynchronous:
            await asynchronous.infer("m", x=[1])

    asyncio.run(converse())
print(json.dumps([
    {
        "name": span.name, "kind": span.kind.name, "status": span.status.status_code.name,
        "trace": format(span.context.trace_id, "032x"), "span": format(span.context.span_id, "016x"),
        "attributes": dict(span.attributes),
    }
    for span in exporter.get_finished_spans()
]))
"""

UNTRACED = """
import sys
from sardonyx_client import Client
with Client(sys.argv[1]) as client:
    client.infer("m", x=[1])
print(sum(name.startswith("opentelemetry") for name in sys.modules))
"""


def run(program: str, address: str) -> str:
    """What a program prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, address],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def traceparents(server: TinyServer) -> list[Any]:
    """Of each call."""
    return [dict(call.invocation_metadata).get("traceparent") for call in server.calls]


def test_each_call_has_a_span_and_the_server_hears_of_it() -> None:
    """Sync and async, well and badly ended; a traceparent that the caller sends itself is left alone."""
    pytest.importorskip("opentelemetry.sdk")
    with TinyServer(
        ModelInfer=echo,
        ServerReady=say(ServerReadyResponse(ready=True)),
        ModelMetadata=refuse(grpc.StatusCode.NOT_FOUND, "no such model"),
    ) as server:
        spans = json.loads(run(TRACED, server.address))
        assert [span.pop("name") for span in spans] == [
            "inference.GRPCInferenceService/ModelInfer",
            "inference.GRPCInferenceService/ServerReady",
            "inference.GRPCInferenceService/ModelMetadata",
            "inference.GRPCInferenceService/ModelInfer",
            "outer",
        ]
        *sent, own = traceparents(server)
        # Behind them stand two digits of flags.
        assert [parent[:-2] for parent in sent] == [f"00-{span['trace']}-{span['span']}-" for span in spans[:3]]
        assert own == "mine"
        assert len({span["trace"] for span in spans}) == 1
        assert [(span["kind"], span["status"]) for span in spans[:3]] == [
            ("CLIENT", "UNSET"), ("CLIENT", "UNSET"), ("CLIENT", "ERROR"),
        ]  # fmt: skip
        infer = spans[0]["attributes"]
        assert infer == {
            "rpc.system": "grpc",
            "rpc.service": "inference.GRPCInferenceService",
            "rpc.method": "ModelInfer",
            "rpc.grpc.status_code": 0,
            "server.address": server.address,
            "sardonyx.model": "m",
        }
        assert spans[2]["attributes"]["rpc.grpc.status_code"] == 5
        assert spans[2]["attributes"]["error.type"] == "NotFound"


def test_a_program_that_does_not_trace_sends_and_imports_nothing() -> None:
    """Whether OpenTelemetry is installed or not."""
    with TinyServer(ModelInfer=echo) as server:
        assert run(UNTRACED, server.address) == "0\n"
        assert traceparents(server) == [None]
