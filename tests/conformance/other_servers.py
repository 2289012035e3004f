"""Servers of others that speak the protocol, each a process in its environment; and what this client must do with any.

What the core protocol has must work. What is an extension, and a server lacks, must be a clear error of the client.
"""

from __future__ import annotations

import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from sardonyx_client import Client, ClientError, NotFound, ServerFault, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["READY_S", "assert_core_protocol", "assert_unimplemented", "free_port", "process"]

READY_S: Final = 90.0
_STOP_S: Final = 10.0


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def process(command: Sequence[str | Path], folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """A server in its own environment, working in ``folder``; what it says goes into ``log`` there."""
    # No variables of ours: a PYTHONPATH would let it import from these sources.
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", **variables}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            server.terminate()
            try:
                server.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def assert_core_protocol(client: Client) -> None:
    """Health, metadata and inference of the model ``echo``, and errors that are the client's own."""
    assert (client.live(), client.ready(), client.ready("echo")) == (True, True, True)
    assert client.metadata().name
    assert client.metadata("echo").name == "echo"
    numbers = np.array([[1.5, -2.0]], np.float32)
    result = client.infer("echo", x=numbers, request_id="my id")
    np.testing.assert_array_equal(result["x"], numbers)
    assert (result.model_name, result.request_id) == ("echo", "my id")
    for dtype in (np.int64, np.uint8, np.float64, np.bool_):
        np.testing.assert_array_equal(client.infer("echo", x=numbers.astype(dtype))["x"], numbers.astype(dtype))
    assert client.infer("echo", x=[["ab", "ü"]]).text("x").tolist() == [["ab", "ü"]]
    results = client.infer_many("echo", ({"x": numbers + index} for index in range(10)))
    assert [float(each["x"][0, 0]) for each in results] == [1.5 + index for index in range(10)]
    # Large enough to be shared, where a server could.
    large = np.ones((1, 100_000), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(client.infer("echo", x=large)["x"], large)
    with pytest.raises((NotFound, ServerFault)):
        client.infer("nobody", x=numbers)


def assert_unimplemented(*calls: Callable[[], object]) -> None:
    """Each is refused by a word that says what is missing, and is no exception of grpc's."""
    for call in calls:
        with pytest.raises(ClientError) as caught:
            call()
        assert type(caught.value) is Unimplemented
        assert caught.value.message
