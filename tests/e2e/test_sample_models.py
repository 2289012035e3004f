"""The sample repository, served: each row's prediction is scikit-learn's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="compares with scikit-learn")
pytest.importorskip("skl2onnx", reason="models/build.py converts with it")

from sardonyx_client import Client  # after the skips
from sardonyx_server.app import App
from sardonyx_server.settings import Settings
from tests.e2e.servers import TRANSPORTS
from tests.models.expected import NAMES, REPOSITORY, assert_answers, built

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=TRANSPORTS)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a server with the sample repository, as ``make serve`` starts it."""
    app = App(
        Settings(
            model_repository=(REPOSITORY,), grpc_port=0, metrics_port=None, transport=request.param, probe_budget_s=0.1
        )
    )
    app.start()
    with Client(app.address) as connected:
        yield connected
    app.drain_and_stop(5.0)


def test_every_sample_model_is_ready(client: Client) -> None:
    """None is broken, none is missing."""
    assert client.ready()
    assert all(client.ready(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_served_predictions_are_those_of_scikit_learn(client: Client, name: str) -> None:
    """All held-out rows in one request, which is split where it must be."""
    model = built(name)
    assert_answers(name, client.infer(name, model.rows))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_alone_gets_what_it_gets_among_others(client: Client, name: str) -> None:
    """The first ten rows one by one."""
    model = built(name)
    count = min(10, len(next(iter(model.rows.values()))))
    answers = [client.infer(name, {key: rows[k : k + 1] for key, rows in model.rows.items()}) for k in range(count)]
    together: dict[str, Any] = {
        output: np.concatenate([answer[output] for answer in answers]) for output in model.expected
    }
    assert_answers(name, together, {output: want[:count] for output, want in model.expected.items()})
