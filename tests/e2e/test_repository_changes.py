"""Poll mode: what changes on disk is served soon, what is broken displaces nothing, what is removed is gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from sardonyx_client import Client, NotFound
from sardonyx_server.app import App
from sardonyx_server.engine.models.states import State
from sardonyx_server.settings import Settings
from tests.e2e.servers import eventually

REPOSITORY: Final = Path(__file__).parents[2] / "models"


def test_changes_on_disk_are_followed(tmp_path: Path) -> None:
    """A new version takes over, a broken one is reported beside it, a removed model is unknown."""
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY / "iris", repository / "iris")
    app = App(
        Settings(
            model_repository=(repository,),
            grpc_port=0,
            metrics_port=None,
            model_control_mode="poll",
            repository_poll_secs=0.2,
            cores=1,
        )
    )
    app.start()
    row = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)
    try:
        with Client(app.address, timeout_s=60) as client:
            first = client.infer("iris", X=row)
            assert first.model_version == "1"

            shutil.copytree(repository / "iris" / "1", repository / "iris" / "2")
            eventually(lambda: client.infer("iris", X=row).model_version == "2", "version 2 answers")
            assert client.infer("iris", X=row)["label"].tolist() == first["label"].tolist()

            (repository / "iris" / "3").mkdir()
            (repository / "iris" / "3" / "model.onnx").write_bytes(b"no model")
            eventually(lambda: 3 in app.registry.entries()["iris"].versions, "version 3 is seen")
            eventually(lambda: app.registry.entries()["iris"].versions[3].state is State.FAILED, "version 3 has failed")
            assert client.infer("iris", X=row).model_version == "2"

            shutil.rmtree(repository / "iris")
            eventually(lambda: "iris" not in app.registry.entries(), "iris is gone")
            with pytest.raises(NotFound, match="unknown model 'iris'"):
                client.infer("iris", X=row)
    finally:
        assert app.drain_and_stop(5)
