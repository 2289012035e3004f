"""The project's own streams against the whole server, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sardonyx_client import AsyncClient, Client, ServerFault, Unavailable
from tests.e2e.messages import gate_request
from tests.e2e.servers import Server, eventually

X = np.ones((3, 4), np.float32)


def test_results_come_in_order_and_a_failure_leaves_the_stream_open(server: Server) -> None:
    """With the same values as calls one by one."""
    with Client(server.app.address) as client:
        expected = [client.infer("affine", x=X * k)["y"].tolist() for k in range(30)]
        with client.stream(timeout_s=60) as stream:
            for k in range(30):
                stream.send("affine", x=X * k, request_id=str(k))
            stream.send("nobody", x=X, request_id="bad")
            stream.send("affine", x=X, request_id="last")
            stream.done_sending()
            for k in range(30):
                result = next(stream)
                assert (result.request_id, result["y"].tolist()) == (str(k), expected[k])
            with pytest.raises(ServerFault, match=r"^unknown model 'nobody'") as caught:
                next(stream)
            assert caught.value.request_id == "bad"
            assert [result.request_id for result in stream] == ["last"]
    server.settle()


def test_results_come_in_order_from_the_asynchronous_client(server: Server) -> None:
    """Sent while others are awaited."""

    async def converse() -> None:
        async with AsyncClient(server.app.address) as client, client.stream(timeout_s=60) as stream:
            for k in range(30):
                await stream.send("affine", x=X * k, request_id=str(k))
            await stream.done_sending()
            assert [result.request_id async for result in stream] == [str(k) for k in range(30)]

    asyncio.run(converse())
    server.settle()


def test_a_stream_that_is_closed_early_runs_nothing_more(server: Server) -> None:
    """Its requests wait while the model is busy."""
    rows: dict[str, Any] = {
        "x": np.ones((1, 2), np.float32),
        "index": np.zeros((1, 1), np.int64),
        "trips": np.zeros((1, 1), np.int64),
    }
    with Client(server.app.address) as client, server.holding(gate_request()):
        with client.stream() as stream:
            for _ in range(4):
                stream.send("gate", rows)
            queue = server.model("gate").queue
            eventually(lambda: queue.rows == 4, "four wait")
            before = sum(one.rows for one in server.counters("gate"))
            jobs = [job for level in queue._pending.levels.values() for jobs in level.buckets.values() for job in jobs]
        eventually(lambda: all(job.call.cancelled for job in jobs), "the server knows")
    server.settle()
    assert sum(one.rows for one in server.counters("gate")) == before + 1


def test_a_server_that_stops_says_so_to_streams(server: Server, models: Path) -> None:
    """The class of error that says "elsewhere, or later"."""
    settings: dict[str, Any] = {"model_control_mode": "explicit", "load_model": ("affine",)}
    with (
        Server(models, server.transport, **settings) as own,
        Client(own.app.address) as client,
        client.stream(timeout_s=60) as stream,
    ):
        stream.send("affine", x=X)
        assert next(stream)["y"].shape == (3, 4)
        own.app._transport.drain()
        with pytest.raises(Unavailable, match="the server is stopping"):
            next(stream)
