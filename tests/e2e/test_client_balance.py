"""The client over two servers: calls go to both, and stopping one loses none."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sardonyx_client import Client
from tests.e2e.servers import TRANSPORTS, Server, eventually

if TYPE_CHECKING:
    from pathlib import Path

CALLERS = 16


def answered(server: Server) -> int:
    """Calls that a server has taken."""
    return sum(counters.requests for counters in server.model("affine").counters)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_stops_while_16_threads_call_loses_no_call(models: Path, transport: str) -> None:
    """It says that it is stopping, and gets no more; what it had accepted is answered."""
    x = np.ones((1, 4), np.float32)
    with Server(models, transport) as first, Server(models, transport) as second:
        over = threading.Event()
        done = [0] * CALLERS

        def call(number: int) -> None:
            while not over.is_set():
                assert client.infer("affine", x=x)["y"][0, 1] == -2 + 0.25
                done[number] += 1

        with (
            Client([first.app.address, second.app.address], timeout_s=60.0) as client,
            ThreadPoolExecutor(CALLERS) as threads,
        ):
            ends = [threads.submit(call, number) for number in range(CALLERS)]
            try:
                eventually(lambda: min(done) > 3, "every caller got answers")
                eventually(lambda: answered(first) > CALLERS and answered(second) > CALLERS, "calls go to both")
                assert first.stop(10.0), "what was accepted was answered"
                before = list(done)
                eventually(
                    lambda: all(now > then + 3 for now, then in zip(done, before, strict=True)),
                    "every caller goes on at the other server",
                )
            finally:
                over.set()
            for end in ends:
                end.result(60.0)
