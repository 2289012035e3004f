"""This client with kserve's model server, unmodified, from an environment of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sardonyx_client import Client
from tests.conformance.other_servers import READY_S, assert_core_protocol, assert_unimplemented, free_port, process
from tests.conformance.tools import KSERVE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of a server with the model ``echo``."""
    KSERVE.require()
    port, http_port = free_port(), free_port()
    script = Path(__file__).with_name("kserve_server.py")
    command: list[str | Path] = [KSERVE.folder / "bin/python", script, str(port), str(http_port)]
    with process(command, tmp_path_factory.mktemp("kserve"), {}), Client(f"127.0.0.1:{port}") as connected:
        connected.wait_until_ready(READY_S, model="echo")
        yield connected


def test_the_core_protocol(client: Client) -> None:
    """All that it has."""
    assert_core_protocol(client)


def test_what_it_lacks_is_a_clear_error(client: Client) -> None:
    """Triton's extensions."""
    assert_unimplemented(
        lambda: client.config("echo"),
        client.statistics,
        client.repository.index,
        client.shared_memory.status,
    )
