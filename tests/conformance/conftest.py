"""One server for each transport, shared by the clients of this folder, with the models of the end-to-end tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.models import repository, write
from tests.e2e.servers import ALLOW_ALL, TRANSPORTS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of tests.e2e.models."""
    return write(repository(), tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session", params=TRANSPORTS)
def server(request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that allows its callers everything and outlives the test: leave it as it was."""
    traces = tmp_path_factory.mktemp("traces")
    with Server(models, request.param, metrics_port=0, trace_dir=traces, **ALLOW_ALL) as running:
        yield running
