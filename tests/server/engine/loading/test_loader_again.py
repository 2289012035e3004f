"""The same content is measured once; what is new is measured sparingly where others are served."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.loading.loader import Loader
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.running.model import Model
from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.spec import ModelSpec
from sardonyx_server.runtime.backend import OrtBackend
from tests.server.engine.doubles import PATIENCE_S, FakeCall, message, publish
from tests.server.repository.onnx_models import external, linear, put_model


class RecordingMachine(OrtBackend):
    """Notes how many threads each session was opened with, and what tells the files of each model from others."""

    def __init__(self) -> None:
        super().__init__(requested=("cpu",), cores=2)
        self.opened: list[int] = []
        self.placed: list[bytes] = []

    def place(self, config: Any, inputs: Any, digest: bytes) -> Any:
        """As ever."""
        self.placed.append(digest)
        return super().place(config, inputs, digest)

    def open(self, *, threads: int, **arguments: Any) -> Any:
        """As ever."""
        self.opened.append(threads)
        return super().open(threads=threads, **arguments)


class Server:
    """A loader of a server with two cores and no lane, and the models it has loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = RecordingMachine()
        self.models: list[Model] = []
        self._loader = Loader(
            self.machine,
            queue_rows=100,
            queue_bytes=10**6,
            total_queue_bytes=10**6,
            probe_budget_s=0.02,
            max_batch_rows=4,
            lane=None,
            on_runner_lost=lambda _error: None,
        )

    def load(self, name: str = "m", tell: Callable[[State], None] = lambda _state: None) -> Model:
        """Load it as it lies on disk now."""
        found = scan([self.folder])[name]
        assert isinstance(found, ModelSpec), found
        self.machine.opened.clear()
        model = self._loader.load(found, 1, tell)
        self.models.append(model)
        return model


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One whose models are drained in the end."""
    made = Server(tmp_path)
    yield made
    for model in made.models:
        assert model.drain(PATIENCE_S)


def ask(model: Model, rows: Sequence[int]) -> list[list[int]]:
    """The shapes of the answers to requests of so many rows."""
    registry = Registry()
    publish(registry, model)
    intake = Intake(registry)
    calls = [FakeCall() for _ in rows]
    for count, call in zip(rows, calls, strict=True):
        intake.accept(message({"x": np.ones((count, 4), np.float32)}).SerializeToString(), call)
    intake.run_waiting()
    for call in calls:
        call.wait()
    return [list(call.arrays[0].shape) for call in calls]


class TestTheSameContent:
    """Loaded again."""

    def test_it_is_not_measured_again(self, server: Server) -> None:
        """Verdict and runners are those of the first load, and callers notice nothing."""
        put_model(server.folder, "m")
        first, again = server.load(), server.load()
        assert (first.info.remembered, again.info.remembered) == (False, True)
        assert again.info.verdict is first.info.verdict
        assert again.info.runners_reason == first.info.runners_reason
        assert (again.info.runners, again.info.threads) == (first.info.runners, first.info.threads)
        assert again.config == first.config
        assert ask(again, [1, 3, 9]) == [[1, 3], [3, 3], [9, 3]]

    def test_no_session_is_opened_only_to_be_measured(self, server: Server) -> None:
        """The first load tries two divisions of the cores; the second knows which one to open."""
        put_model(server.folder, "m")
        model = server.load()
        assert server.machine.opened == [1, 2]
        server.load()
        assert server.machine.opened == [model.info.threads]

    def test_its_name_makes_no_difference(self, server: Server) -> None:
        """A repository may have the same model many times, for as many customers."""
        for name in ("m", "n"):
            put_model(server.folder, name)
        assert not server.load("m").info.remembered
        model = server.load("n")
        assert model.info.remembered
        assert model.config.name == "n"

    def test_so_it_is_where_external_data_are_the_same(self, server: Server) -> None:
        """They are part of the content."""
        data = put_model(server.folder, "m", data=linear(weight=external("w.bin"))).parent / "w.bin"
        data.write_bytes(np.ones((4, 3), np.float32).tobytes())
        server.load()
        assert server.load().info.remembered
        data.write_bytes(np.zeros((4, 3), np.float32).tobytes())
        assert not server.load().info.remembered


class TestOtherContent:
    """Under the same name."""

    def test_what_a_provider_keeps_of_other_weights_is_apart(self, server: Server) -> None:
        """A graph that was trained again looks the same to TensorRT: it would answer by the weights of before."""
        data = put_model(server.folder, "m", data=linear(weight=external("w.bin"))).parent / "w.bin"
        for number in (1, 1, 2):
            data.write_bytes(np.full((4, 3), number, np.float32).tobytes())
            server.load()
        before, same, other = server.machine.placed
        assert before == same != other

    def test_another_graph_is_measured(self, server: Server) -> None:
        """Whatever it has in common with the one before."""
        put_model(server.folder, "m")
        server.load()
        put_model(server.folder, "m", data=linear(columns=5))
        model = server.load()
        assert not model.info.remembered
        assert ask(model, [2]) == [[2, 5]]

    def test_another_config_is_measured(self, server: Server) -> None:
        """It may forbid batches, or give threads."""
        put_model(server.folder, "m")
        server.load()
        put_model(server.folder, "m", config="max_batch_size: 0")
        model = server.load()
        assert not model.info.remembered
        assert not model.info.verdict.batchable

    def test_the_first_content_is_remembered_all_the_same(self, server: Server) -> None:
        """Whoever goes back to it finds it."""
        for columns in (3, 5):
            put_model(server.folder, "m", data=linear(columns=columns))
            server.load()
        put_model(server.folder, "m")
        assert server.load().info.remembered


class TestBesideTraffic:
    """Others are served while a new model is loaded."""

    def test_the_cores_are_not_divided_by_measurement(self, server: Server) -> None:
        """That takes all of them at once. What mostly wins is taken, and the reason says so."""
        put_model(server.folder, "busy")
        put_model(server.folder, "new", data=linear(columns=5))
        busy = server.load("busy")
        model = server.load("new", lambda _state: _ask_often(busy))
        assert server.machine.opened == [1]
        assert model.info.runners_reason.startswith(
            "2 x 1 threads: not measured, because other models were being asked"
        )
        assert model.info.threads == 1
        assert ask(model, [2]) == [[2, 5]]

    def test_they_are_at_the_next_load(self, server: Server) -> None:
        """When it is quiet; what the probe found is remembered."""
        put_model(server.folder, "busy")
        put_model(server.folder, "new", data=linear(columns=5))
        busy = server.load("busy")
        server.load("new", lambda _state: _ask_often(busy))
        again = server.load("new")
        assert again.info.remembered
        assert again.info.runners_reason.startswith("fastest of 2 x 1 threads: ")


def _ask_often(model: Model) -> None:
    ask(model, [1] * 50)
