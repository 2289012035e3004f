"""What is listed, and what of a load reaches those who load. Over a socket: tests/e2e/test_model_repository.py."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State, VersionStatus
from sardonyx_server.errors import InvalidRequest, LoadFailed, ModelUnavailable, NotFound
from sardonyx_server.repository.spec import BrokenModel, ModelSpec
from sardonyx_server.rpc.other_rpcs.model_repository import ModelRepository
from sardonyx_wire.messages import (
    RepositoryIndexRequest,
    RepositoryModelLoadRequest,
    RepositoryModelUnloadRequest,
)
from tests.server.repository.onnx_models import linear, put_model
from tests.server.rpc.doubles import FakeLoads, failed, loading, ready


def wait(outcome: Future[None]) -> None:
    """The double's outcomes are there at once."""
    outcome.result(0)


class Asked:
    """The RPCs, with a double behind them."""

    def __init__(self, *paths: Path, control_mode: str = "explicit") -> None:
        self.registry = Registry()
        self.loads = FakeLoads()
        self.rpcs = ModelRepository(self.registry, self.loads, paths=paths, control_mode=control_mode)

    def index(self, **more: object) -> list[tuple[str, str, str, str]]:
        """(model, version, state, reason), in order."""
        answer = self.rpcs.index(RepositoryIndexRequest(**more))  # type: ignore[arg-type]
        return [(row.name, row.version, row.state, row.reason) for row in answer.models]

    def load(self, name: str, config: str | None = None, *, repository: str = "", **files: bytes) -> None:
        """Load a model; the names of files are those of version 1, ``_`` for a dot."""
        message = RepositoryModelLoadRequest(model_name=name, repository_name=repository)
        if config is not None:
            message.parameters["config"].string_param = config
        for key, data in files.items():
            message.parameters[f"file:1/{key.replace('_', '.')}"].bytes_param = data
        self.rpcs.load(message, wait)

    def unload(self, name: str, *, repository: str = "") -> None:
        """Unload a model."""
        self.rpcs.unload(RepositoryModelUnloadRequest(model_name=name, repository_name=repository), wait)


def test_every_state_has_tritons_word() -> None:
    """With the reason where it is not obvious."""
    asked = Asked()
    ready(asked.registry, "m", 1)
    loading(asked.registry, "m", 2)
    failed(asked.registry, "m", "no", 3)
    for number, state in ((4, State.NEW), (5, State.WARMING), (6, State.DRAINING), (7, State.CLOSED)):
        reason = "unloaded" if number > 5 else ""
        asked.registry.set_version("m", VersionStatus(number=number, state=state, reason=reason))
    assert asked.index() == [
        ("m", "1", "READY", ""),
        ("m", "2", "LOADING", ""),
        ("m", "3", "UNAVAILABLE", "no"),
        ("m", "4", "LOADING", ""),
        ("m", "5", "LOADING", ""),
        ("m", "6", "UNLOADING", "unloaded"),
        ("m", "7", "UNAVAILABLE", "unloaded"),
    ]
    assert asked.index(ready=True) == [("m", "1", "READY", "")]


def test_a_model_that_broke_on_disk_is_ready_and_says_so(tmp_path: Path) -> None:
    """Its version that works is served on."""
    put_model(tmp_path, "m", data=linear(), config="max_batch: 1")
    asked = Asked(tmp_path)
    ready(asked.registry, "m", 1)
    ((name, version, state, reason),) = asked.index()
    assert (name, version, state) == ("m", "1", "READY")
    assert "has no field 'max_batch'" in reason


def test_the_index_of_one_repository(tmp_path: Path) -> None:
    """By the last part of its path; what is loaded from elsewhere is not in it."""
    for repository, name in (("first", "a"), ("second", "b")):
        put_model(tmp_path / repository, name, data=linear())
    asked = Asked(tmp_path / "first", tmp_path / "second")
    ready(asked.registry, "c")
    ready(asked.registry, "b")
    assert [row[0] for row in asked.index()] == ["a", "b", "c"]
    assert asked.index(repository_name="first") == [("a", "", "", "")]
    assert asked.index(repository_name="second", ready=True) == [("b", "1", "READY", "")]
    with pytest.raises(NotFound, match=r"^unknown repository '/': expected one of 'first', 'second', or none for all$"):
        asked.index(repository_name="/")


def test_no_repository_has_models_nobody_could_list() -> None:
    """A path that is gone is listed as what it is."""
    assert Asked(Path("gone")).index() == [("gone", "", "UNAVAILABLE", "'gone' is not there")]
    assert Asked().index() == []


def test_a_load_looks_at_the_disk_when_its_turn_comes(tmp_path: Path) -> None:
    """Not when it is asked for."""
    asked = Asked(tmp_path)
    asked.loads.pending = True
    with pytest.raises(TimeoutError):
        asked.load("m")
    asked.loads.pending = False
    with pytest.raises(NotFound, match=r"^model 'm' failed to load: no repository has it; "):
        asked.load("m")
    put_model(tmp_path, "m", data=linear())
    asked.load("m")
    (spec,) = asked.loads.specs
    assert isinstance(spec, ModelSpec)
    assert (spec.name, spec.versions) == ("m", (1,))


def test_a_load_from_one_repository_takes_the_model_that_lies_there(tmp_path: Path) -> None:
    """A name that lies in two of them is no model otherwise."""
    for repository in ("first", "second"):
        put_model(tmp_path / repository, "m", data=linear())
    asked = Asked(tmp_path / "first", tmp_path / "second")
    asked.load("m")
    asked.load("m", repository="second")
    broken, spec = asked.loads.specs
    assert isinstance(broken, BrokenModel)
    assert spec.folder == tmp_path / "second" / "m"


def test_a_config_that_makes_no_model_does_not_reach_the_loader(tmp_path: Path) -> None:
    """The registry must not hear of a caller's mistake."""
    put_model(tmp_path, "m", data=linear())
    asked = Asked(tmp_path)
    with pytest.raises(
        InvalidRequest, match=r"^model 'm' failed to load: the given config .* label_filename is '\.\./x', "
    ) as caught:
        asked.load("m", '{"output": [{"name": "y", "label_filename": "../x"}]}')
    assert caught.value.field == "parameters"
    assert not asked.loads.specs


def test_what_the_loader_says_of_a_callers_own_is_the_callers_mistake(tmp_path: Path) -> None:
    """And of what lies on disk the operator's."""
    put_model(tmp_path, "m", data=linear())
    asked = Asked(tmp_path)

    def fail(_spec: object) -> None:
        raise LoadFailed("unknown operator")

    asked.loads.on_load = fail
    with pytest.raises(LoadFailed, match=r"^unknown operator$"):
        asked.load("m")
    with pytest.raises(InvalidRequest, match=r"^unknown operator$") as caught:
        asked.load("m", "{}")
    assert caught.value.reason == "LOAD_FAILED"
    with pytest.raises(InvalidRequest, match=r"^unknown operator$"):
        asked.load("m", "{}", model_onnx=linear())


def test_files_are_there_while_the_loader_looks(tmp_path: Path) -> None:
    """In a folder of their own that is named like the model."""
    asked, seen = Asked(tmp_path), []

    def look(spec: ModelSpec | BrokenModel) -> None:
        assert isinstance(spec, ModelSpec)
        seen.append((spec.name, spec.files[1].read_bytes()))
        assert not spec.folder.is_relative_to(tmp_path)
        asked.loads.specs.append(spec)

    asked.loads.on_load = look
    asked.load("m", "{}", model_onnx=linear())
    assert seen == [("m", linear())]
    assert not asked.loads.specs[0].folder.parent.exists()


def test_unloading_what_is_known_is_fine_whether_it_is_loaded_or_not(tmp_path: Path) -> None:
    """What nobody knows is not."""
    put_model(tmp_path / "first", "m", data=linear())
    (tmp_path / "second").mkdir()
    asked = Asked(tmp_path / "first", tmp_path / "second")
    ready(asked.registry, "elsewhere")
    asked.unload("m")
    asked.unload("m", repository="first")
    asked.unload("elsewhere")
    for name, repository in (("nobody", ""), ("m", "second"), ("elsewhere", "first")):
        with pytest.raises(NotFound, match=f"^model '{name}' cannot be unloaded: no repository has it; "):
            asked.unload(name, repository=repository)


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_other_modes_load_nothing(mode: str) -> None:
    """Before anything else is looked at."""
    asked = Asked(control_mode=mode)
    forbidden = f"runs with --model-control-mode {mode}; start it with"
    with pytest.raises(ModelUnavailable, match=f"^RepositoryModelLoad is off, since this server {forbidden}"):
        asked.load("m", repository="nowhere")
    with pytest.raises(ModelUnavailable, match=f"^RepositoryModelUnload is off, since this server {forbidden}"):
        asked.unload("m")
    assert not asked.loads.names
