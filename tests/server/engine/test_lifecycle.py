"""What is served follows what lies on disk; what works is never displaced by what does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from sardonyx_server.engine.lifecycle import Lifecycle
from sardonyx_server.engine.model import Model
from sardonyx_server.engine.registry import Registry, State, VersionStatus
from sardonyx_server.errors import LoadFailed, ModelUnavailable
from sardonyx_server.repository.files import STILL_BEING_WRITTEN
from sardonyx_server.repository.spec import BrokenModel, ModelSpec
from sardonyx_wire.messages import ModelConfig
from tests.server.engine.requests import PATIENCE_S, FakeSession, doubling, model_of, signature


def spec(name: str, versions: Mapping[int, str], *, warnings: tuple[str, ...] = ()) -> ModelSpec:
    """A model on disk; versions are given with the fingerprints of their files."""
    return ModelSpec(
        name=name,
        folder=Path(name),
        versions=tuple(versions),
        files={version: Path(name) / str(version) / "model.onnx" for version in versions},
        config=ModelConfig(name=name),
        has_config=False,
        declines_batching=False,
        labels={},
        fingerprint=" ".join(versions.values()),
        version_fingerprints=versions,
        warnings=warnings,
    )


def broken(name: str, reason: str) -> BrokenModel:
    """Something on disk that is no model."""
    return BrokenModel(name=name, folder=Path(name), reason=reason, fingerprint=reason)


class Server:
    """A lifecycle with a loader that is a double: what it does with a version is looked up by its fingerprint."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.loads: list[tuple[str, int]] = []
        self.done: list[tuple[str, int, int]] = []
        self.models: list[Model] = []
        self.outcomes: dict[str, Exception] = {}
        self.on_load: Callable[[str, int], None] = lambda _name, _version: None
        self.lifecycle = Lifecycle(
            self.registry,
            self._load,
            drain_timeout_s=PATIENCE_S,
            on_model=lambda *progress: self.done.append(progress),
        )
        self.lifecycle.start()

    def _load(self, spec: ModelSpec, version: int, tell: Callable[[State], None]) -> Model:
        self.loads.append((spec.name, version))
        tell(State.WARMING)
        self.on_load(spec.name, version)
        outcome = self.outcomes.get(spec.version_fingerprints[version])
        if outcome is not None:
            raise outcome
        model = model_of(doubling(), of=signature(version=version))
        self.models.append(model)
        return model

    def serve(self, *wanted: ModelSpec | BrokenModel) -> None:
        """Serve these, and wait until that is so."""
        assert self.lifecycle.reconcile({each.name: each for each in wanted}).wait(PATIENCE_S)

    def status(self, name: str, version: int) -> VersionStatus:
        """How a version stands."""
        return self.registry.entries()[name].versions[version]

    def is_closed(self, model: Model) -> bool:
        """Whether a model has been drained and its session freed."""
        (session,) = model._sessions
        assert isinstance(session, FakeSession)
        return session.closed == 1


@pytest.fixture
def server() -> Iterator[Server]:
    """One that is stopped in the end."""
    made = Server()
    yield made
    made.on_load = lambda _name, _version: None
    assert made.lifecycle.stop(PATIENCE_S)


def test_models_are_loaded_and_their_progress_is_told(server: Server) -> None:
    """In order; the broken ones count."""
    server.serve(spec("a", {1: "a1"}), broken("b", "no"), spec("c", {1: "c1", 2: "c2"}))
    assert server.loads == [("a", 1), ("c", 1), ("c", 2)]
    assert server.done == [("a", 1, 3), ("b", 2, 3), ("c", 3, 3)]
    assert server.registry.get("c").version == 2
    assert server.registry.get("c", "1").version == 1
    assert server.registry.entries()["b"].problem == "no"


def test_a_version_goes_through_its_states(server: Server) -> None:
    """LOADING, WARMING, READY; health hears of each."""
    states = []

    def listen(name: str, _ready: bool) -> None:
        states.append(server.status(name, 1).state)

    server.registry.subscribe(listen)
    server.serve(spec("m", {1: "a"}))
    assert states == [State.LOADING, State.WARMING, State.READY]


def test_what_has_not_changed_is_not_loaded_again(server: Server) -> None:
    """However often the disk is looked at."""
    for _ in range(3):
        server.serve(spec("m", {1: "a"}))
    assert server.loads == [("m", 1)]


def test_a_new_version_is_ready_before_the_old_one_goes(server: Server) -> None:
    """Requests find a model at every moment; the old one is drained and freed."""
    server.serve(spec("m", {1: "a"}))
    (old,) = server.models
    seen = []
    server.on_load = lambda _name, _version: seen.append((server.registry.get("m"), server.is_closed(old)))
    server.serve(spec("m", {2: "b"}))
    assert seen == [(old, False)]
    assert server.registry.get("m") is server.models[1]
    assert list(server.registry.entries()["m"].versions) == [2]
    assert server.is_closed(old)


def test_files_that_were_overwritten_are_loaded_beside_the_old_ones_and_swapped(server: Server) -> None:
    """The version's number stays, and it is ready all the time."""
    server.serve(spec("m", {1: "a"}))
    (old,) = server.models
    seen = []
    server.on_load = lambda _name, _version: seen.append(server.status("m", 1).state)
    server.serve(spec("m", {1: "b"}))
    assert seen == [State.READY]
    assert server.registry.get("m") is server.models[1]
    assert server.is_closed(old)


def test_overwritten_files_that_do_not_load_leave_the_old_ones_served(server: Server) -> None:
    """And it is told that, and why."""
    server.serve(spec("m", {1: "a"}))
    server.outcomes["b"] = LoadFailed("the file is empty")
    server.serve(spec("m", {1: "b"}))
    status = server.status("m", 1)
    assert (status.state, status.model) == (State.READY, server.models[0])
    assert status.reason == ("the files on disk were not taken, an earlier state of them is served: the file is empty")
    assert not server.is_closed(server.models[0])


def test_a_new_version_that_fails_does_not_displace_the_one_that_works(server: Server) -> None:
    """Although the version policy wants only the newest: the old one goes when a wanted one is ready."""
    server.serve(spec("m", {1: "a"}))
    server.outcomes["b"] = LoadFailed("unknown operator")
    server.serve(spec("m", {2: "b"}))
    assert server.registry.get("m") is server.models[0]
    failed = server.status("m", 2)
    assert (failed.state, failed.reason) == (State.FAILED, "unknown operator")
    server.serve(spec("m", {2: "mended"}))
    assert server.registry.get("m") is server.models[1]
    assert list(server.registry.entries()["m"].versions) == [2]
    assert server.is_closed(server.models[0])


def test_a_version_that_failed_goes_when_it_is_wanted_no_more(server: Server) -> None:
    """And what it stood beside stays."""
    server.outcomes["b"] = LoadFailed("no")
    server.serve(spec("m", {1: "a"}))
    server.serve(spec("m", {2: "b"}))
    server.serve(spec("m", {1: "a"}))
    assert list(server.registry.entries()["m"].versions) == [1]
    assert server.loads == [("m", 1), ("m", 2)]
    assert server.registry.get("m") is server.models[0]


def test_what_failed_is_tried_again_when_it_changes_and_not_before(server: Server) -> None:
    """The same files fail again."""
    server.outcomes["a"] = LoadFailed("no")
    server.serve(spec("m", {1: "a"}))
    server.serve(spec("m", {1: "a"}))
    assert server.loads == [("m", 1)]
    with pytest.raises(ModelUnavailable, match=r"^model 'm' failed to load: no$"):
        server.registry.get("m")
    server.serve(spec("m", {1: "b"}))
    assert server.registry.get("m").version == 1


def test_an_unforeseen_error_of_a_load_is_that_models_failure_alone(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are loaded; callers hear nothing of it, the log everything."""
    server.outcomes["a"] = ZeroDivisionError("secret path")
    server.serve(spec("a", {1: "a"}), spec("b", {1: "b"}))
    status = server.status("a", 1)
    assert (status.state, status.reason) == (State.FAILED, "unforeseen error, see the server's log")
    assert server.registry.is_ready("b")
    assert any(record.exc_info for record in caplog.records)


def test_a_model_that_is_removed_drains_and_is_forgotten(server: Server) -> None:
    """With all its versions, also one that failed."""
    server.outcomes["c"] = LoadFailed("no")
    server.serve(spec("m", {1: "a", 2: "b", 3: "c"}), spec("other", {1: "d"}))
    states = []
    server.registry.subscribe(
        lambda name, _ready: states.append(
            [str(status.state) for status in server.registry.entries()[name].versions.values()]
            if name in server.registry.entries()
            else []
        )
    )
    states.clear()
    server.serve(spec("other", {1: "d"}))
    assert list(server.registry.entries()) == ["other"]
    assert [server.is_closed(model) for model in server.models] == [True, True, False]
    assert states == [
        ["DRAINING", "READY", "FAILED"],
        ["READY", "FAILED"],
        ["DRAINING", "FAILED"],
        ["FAILED"],
        [],
    ]


def test_a_model_that_comes_back_is_loaded_again(server: Server) -> None:
    """Its old session is gone."""
    server.serve(spec("m", {1: "a"}))
    server.serve()
    server.serve(spec("m", {1: "a"}))
    assert server.loads == [("m", 1), ("m", 1)]
    assert server.registry.get("m") is server.models[1]


def test_a_model_that_breaks_goes_on_being_served(server: Server) -> None:
    """A config that cannot be read says so, and the version that works works on."""
    server.serve(spec("m", {1: "a"}))
    server.serve(broken("m", "config.pbtxt is wrong"))
    assert server.registry.entries()["m"].problem == "config.pbtxt is wrong"
    assert server.registry.get("m") is server.models[0]
    server.serve(spec("m", {1: "a"}))
    assert not server.registry.entries()["m"].problem
    assert server.loads == [("m", 1)]


def test_a_model_that_was_broken_from_the_start_can_be_mended(server: Server) -> None:
    """Until then it is known, and not ready."""
    server.serve(broken("m", "there is no version"))
    assert not server.registry.is_ready("m")
    server.serve(spec("m", {1: "a"}))
    assert server.registry.is_ready("m")
    assert not server.registry.entries()["m"].problem


def test_warnings_of_the_repository_are_logged_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """And again when something has changed."""
    for fingerprint in ("a", "a", "b"):
        server.serve(spec("m", {1: fingerprint}, warnings=("folder 'x' is no version",)))
    assert [record.getMessage() for record in caplog.records].count("model repository") == 2


def test_stopping_drains_and_frees_every_model() -> None:
    """What was admitted is answered."""
    server = Server()
    server.serve(spec("m", {1: "a", 2: "b"}), spec("n", {1: "c"}))
    assert server.lifecycle.stop(PATIENCE_S)
    assert all(server.is_closed(model) for model in server.models)


def test_stopping_while_a_model_loads_waits_for_no_further_one() -> None:
    """The one that comes too late is freed at once and never becomes ready."""
    server, loading, go_on = Server(), threading.Event(), threading.Event()

    def on_load(_name: str, _version: int) -> None:
        loading.set()
        assert go_on.wait(PATIENCE_S)

    server.on_load = on_load
    done = server.lifecycle.reconcile({name: spec(name, {1: name}) for name in "abc"})
    assert loading.wait(PATIENCE_S)
    assert server.lifecycle.stop(0.0)
    go_on.set()
    assert done.wait(PATIENCE_S)
    assert server.loads == [("a", 1)]
    assert server.is_closed(server.models[0])
    status = server.status("a", 1)
    assert (status.state, status.model, status.reason) == (State.CLOSED, None, "the server is stopping")


def test_the_loader_goes_on_after_a_bug_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits for it is woken; the next look at the disk is taken."""
    registry, failing = Registry(), [True]

    def on_model(_name: str, _done: int, _total: int) -> None:
        if failing:
            failing.clear()
            raise ZeroDivisionError("bug")

    lifecycle = Lifecycle(
        registry,
        lambda _spec, version, _tell: model_of(doubling(), of=signature(version=version)),
        drain_timeout_s=1.0,
        on_model=on_model,
    )
    lifecycle.start()
    assert lifecycle.reconcile({"a": spec("a", {1: "a"}), "b": spec("b", {1: "b"})}).wait(PATIENCE_S)
    assert lifecycle.reconcile({"a": spec("a", {1: "a"}), "b": spec("b", {1: "b"})}).wait(PATIENCE_S)
    assert registry.is_ready("b")
    assert lifecycle.stop(PATIENCE_S)
    assert "bug: the loader failed" in caplog.text


def test_files_that_are_still_being_written_are_tried_again_although_they_do_not_change() -> None:
    """They may have come to rest between two looks: no further change would tell."""
    registry, outcomes, loads = Registry(), [LoadFailed("half a file", reason=STILL_BEING_WRITTEN)], []

    def load(spec: ModelSpec, version: int, _tell: Callable[[State], None]) -> Model:
        loads.append(version)
        if outcomes:
            raise outcomes.pop()
        return model_of(doubling(), of=signature(version=version))

    lifecycle = Lifecycle(registry, load, drain_timeout_s=1.0)
    lifecycle._bring_in("m", spec("m", {1: "a"}))
    assert not registry.is_ready("m")
    lifecycle._retry_unsettled()
    assert registry.is_ready("m")
    lifecycle._retry_unsettled()
    assert loads == [1, 1]
