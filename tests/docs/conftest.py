"""What the tests of the documentation share: a server with the sample models, on a free port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sardonyx_server.app import App
from sardonyx_server.settings import Settings
from tests.docs.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the sample models are served."""
    # Nothing is measured: the documents are about answers, and measuring takes a second a model.
    settings = {"grpc_port": 0, "metrics_port": None, "probe_budget_s": 0.0, "allow_client_shm": True}
    app = App(Settings.model_validate({"model_repository": (ROOT / "models",), **settings}))
    app.start()
    yield app.address
    assert app.drain_and_stop(5.0), "a request of the tests got no answer"
