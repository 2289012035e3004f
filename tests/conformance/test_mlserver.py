"""This client with MLServer, unmodified, from an environment of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sardonyx_client import Client
from tests.conformance.other_servers import READY_S, assert_core_protocol, assert_unimplemented, free_port, process
from tests.conformance.tools import MLSERVER

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of a server with the model ``echo``."""
    MLSERVER.require()
    folder = tmp_path_factory.mktemp("mlserver")
    port = free_port()
    ports = {"grpc_port": port, "http_port": free_port(), "metrics_port": free_port()}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(
        json.dumps({"name": "echo", "implementation": "mlserver_echo.Echo", "parameters": {"version": "1"}})
    )
    shutil.copy(Path(__file__).with_name("mlserver_echo.py"), folder)
    command: list[str | Path] = [MLSERVER.folder / "bin/mlserver", "start", folder]
    with process(command, folder, {"PYTHONPATH": str(folder)}), Client(f"127.0.0.1:{port}") as connected:
        connected.wait_until_ready(READY_S, model="echo")
        yield connected


def test_the_core_protocol(client: Client) -> None:
    """All that it has."""
    assert_core_protocol(client)


def test_its_repository_is_controlled(client: Client) -> None:
    """It has that extension."""
    assert [entry.name for entry in client.repository.index()] == ["echo"]
    client.repository.unload("echo")
    client.repository.load("echo")
    assert client.infer("echo", x=np.ones((1, 2), np.float32)).model_version == "1"


def test_what_it_lacks_is_a_clear_error(client: Client) -> None:
    """Triton's other extensions."""
    assert_unimplemented(lambda: client.config("echo"), client.statistics, client.shared_memory.status)
