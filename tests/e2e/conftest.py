"""One server for each transport, shared by all tests of this folder; a repository of small models for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.config_models import write_configured
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
def server(request: pytest.FixtureRequest, models: Path) -> Iterator[Server]:
    """A server that outlives the test: leave it as it was. What is off by default is allowed."""
    # Callers may change settings, load models and name regions, so that bad requests of those RPCs are looked at.
    with Server(models, request.param, **ALLOW_ALL) as running:
        yield running


@pytest.fixture(scope="module", params=TRANSPORTS)
def configured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the models that config.pbtxt files make different."""
    with Server(write_configured(tmp_path_factory.mktemp("configured")), request.param) as running:
        yield running
