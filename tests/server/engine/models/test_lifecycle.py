"""What is served follows what lies on disk and what is asked for; what works is never displaced by what does not."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext

import pytest

from sardonyx_server.engine.models.lifecycle import Lifecycle
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.running.model import Model
from sardonyx_server.errors import LoadFailed, ModelUnavailable, NotFound, ShuttingDown
from sardonyx_server.repository.spec import BrokenModel, ModelSpec
from sardonyx_server.repository.stable_file import STILL_BEING_WRITTEN
from tests.e2e.servers import eventually
from tests.server.engine.doubles import PATIENCE_S, doubling, info, model_of, signature
from tests.server.engine.models.loaders import Busy, Server, broken, spec


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
    """NEW, LOADING, WARMING, READY; health hears of each."""
    states = []

    def listen(name: str) -> None:
        states.append(server.status(name, 1).state)

    server.registry.subscribe(listen)
    server.serve(spec("m", {1: "a"}))
    assert states == [State.NEW, State.LOADING, State.WARMING, State.READY]


def test_a_model_is_known_before_its_turn_comes(server: Server) -> None:
    """To a caller it is not ready, and worth another try; not unknown, which would be for good."""
    seen = []

    def on_load(name: str, _version: int) -> None:
        if name == "a":
            with pytest.raises(ModelUnavailable) as caught:
                server.registry.get("b", "2")
            seen.append(caught.value)

    server.on_load = on_load
    server.serve(spec("a", {1: "a1"}), spec("b", {1: "b1", 2: "b2"}))
    (error,) = seen
    assert error.message == "version 2 of model 'b' is not ready: new (others are loaded before it)"
    assert error.retry_after_s
    assert server.registry.get("b").version == 2


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
    eventually(lambda: list(server.registry.entries()["m"].versions) == [2], "the old one is gone")
    server.assert_closed(old)


def test_files_that_were_overwritten_are_loaded_beside_the_old_ones_and_swapped(server: Server) -> None:
    """The version's number stays, and it is ready all the time."""
    server.serve(spec("m", {1: "a"}))
    (old,) = server.models
    seen = []
    server.on_load = lambda _name, _version: seen.append(server.status("m", 1).state)
    server.serve(spec("m", {1: "b"}))
    assert seen == [State.READY]
    assert server.registry.get("m") is server.models[1]
    server.assert_closed(old)


def test_overwritten_files_that_do_not_load_leave_the_old_ones_served(server: Server) -> None:
    """And it is told that, and why."""
    server.serve(spec("m", {1: "a"}))
    server.outcomes["b"] = LoadFailed("the file is empty")
    server.serve(spec("m", {1: "b"}))
    status = server.status("m", 1)
    assert (status.state, status.model) == (State.READY, server.models[0])
    assert status.reason == "a later load failed, an earlier state is served: the file is empty"
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
    eventually(lambda: list(server.registry.entries()["m"].versions) == [2], "the old one is gone")
    server.assert_closed(server.models[0])


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
    """With all its versions, also one that failed; none of them is found from the first moment on."""
    server.outcomes["c"] = LoadFailed("no")
    server.serve(spec("m", {1: "a", 2: "b", 3: "c"}), spec("other", {1: "d"}))
    seen = []
    server.registry.subscribe(
        lambda name: seen.append(
            {str(status.state) for status in server.registry.entries()[name].versions.values()}
            if name in server.registry.entries()
            else set()
        )
    )
    server.serve(spec("other", {1: "d"}))
    eventually(lambda: list(server.registry.entries()) == ["other"], "m is forgotten")
    server.assert_closed(*server.models[:2])
    assert not server.is_closed(server.models[2])
    assert all(states <= {"DRAINING", "READY", "FAILED"} for states in seen)
    assert seen[-1] == set()


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
    server.assert_closed(server.models[0])
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
    versions = lifecycle._versions
    assert versions.load("m", spec("m", {1: "a"})) == ("half a file",)
    assert not registry.is_ready("m")
    assert versions._incomplete
    versions.retry_incomplete()
    assert registry.is_ready("m")
    assert not versions._incomplete
    versions.retry_incomplete()
    assert loads == [1, 1]


def test_a_drain_holds_up_neither_other_models_nor_another_drain_of_its_own(server: Server) -> None:
    """A run that takes long is nobody else's business."""
    busy = {version: Busy(version=version) for version in (1, 2)}
    server.make = lambda _name, version: busy[version].model
    server.serve(spec("m", {1: "a"}))
    busy[1].run()
    server.serve(spec("m", {2: "b"}))
    busy[2].run()
    server.make = lambda name, version: model_of(doubling(), of=signature(name=name, version=version))
    server.serve(spec("m", {3: "c"}), spec("n", {1: "d"}))
    assert server.registry.get("m").version == 3
    assert server.registry.is_ready("n")
    versions = server.registry.entries()["m"].versions
    assert [str(versions[number].state) for number in versions] == ["DRAINING", "DRAINING", "READY"]
    for one in busy.values():
        one.let_go()
        one.call.wait()
        server.assert_closed(one.model)
    eventually(lambda: list(server.registry.entries()["m"].versions) == [3], "drained versions are forgotten")


def test_a_model_is_loaded_by_name(server: Server) -> None:
    """Beside what was reconciled, which the next reconciliation leaves as it is."""
    server.serve(spec("m", {1: "a"}))
    server.load(spec("n", {1: "b", 2: "c"})).result(PATIENCE_S)
    assert server.registry.get("n").version == 2
    server.serve(spec("m", {1: "a"}))
    assert server.registry.is_ready("n")
    server.load(spec("n", {1: "b", 2: "c"})).result(PATIENCE_S)
    assert server.loads == [("m", 1), ("n", 1), ("n", 2)]
    server.load(spec("n", {1: "b", 2: "changed"})).result(PATIENCE_S)
    assert server.loads[3:] == [("n", 2)]


def test_a_load_that_fails_says_why_and_can_be_asked_for_again(server: Server) -> None:
    """Unlike a look at the disk, a question deserves another try."""
    server.outcomes["a"] = LoadFailed("unknown operator")
    with pytest.raises(LoadFailed, match=r"^model 'm' failed to load: unknown operator$"):
        server.load(spec("m", {1: "a"})).result(PATIENCE_S)
    assert server.status("m", 1).state is State.FAILED
    del server.outcomes["a"]
    server.load(spec("m", {1: "a"})).result(PATIENCE_S)
    assert server.registry.is_ready("m")
    server.outcomes["b"] = LoadFailed("no memory")
    with pytest.raises(
        LoadFailed, match=r"^model 'm' failed to load: no memory; what was loaded before is still served$"
    ):
        server.load(spec("m", {1: "b"})).result(PATIENCE_S)
    assert server.registry.get("m") is server.models[0]
    del server.outcomes["b"]
    server.load(spec("m", {1: "b"})).result(PATIENCE_S)
    assert server.registry.get("m") is server.models[1]
    assert not server.status("m", 1).reason


def test_a_load_that_fails_takes_nothing_out(server: Server) -> None:
    """Not even versions that are wanted no more: an earlier state of the wanted one does not replace them."""
    server.load(spec("m", {1: "a", 2: "b"})).result(PATIENCE_S)
    server.outcomes["c"] = LoadFailed("no")
    assert isinstance(server.load(spec("m", {2: "c"})).exception(PATIENCE_S), LoadFailed)
    assert server.registry.get("m", "1") is server.models[0]
    assert server.registry.get("m", "2") is server.models[1]
    server.load(spec("m", {2: "d"})).result(PATIENCE_S)
    eventually(lambda: list(server.registry.entries()["m"].versions) == [2], "version 1 is gone")


def test_a_load_of_what_is_no_model_says_so(server: Server) -> None:
    """And of what is still being written: no second try behind the caller's back."""
    with pytest.raises(LoadFailed, match=r"^model 'm' failed to load: there is no version folder$"):
        server.load(broken("m", "there is no version folder")).result(PATIENCE_S)
    server.outcomes["a"] = LoadFailed("half a file", reason=STILL_BEING_WRITTEN)
    with pytest.raises(LoadFailed, match="half a file"):
        server.load(spec("m", {1: "a"})).result(PATIENCE_S)
    assert not server.lifecycle._versions.has_incomplete


def test_what_the_look_at_the_disk_raises_is_the_outcome_of_a_load(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The registry does not change."""

    def find(error: Exception) -> Callable[[], nullcontext[ModelSpec | BrokenModel]]:
        def look() -> nullcontext[ModelSpec | BrokenModel]:
            raise error

        return look

    with pytest.raises(NotFound, match=r"^no such model$"):
        server.lifecycle.load("m", find(NotFound("no such model"))).result(PATIENCE_S)
    with pytest.raises(ZeroDivisionError):
        server.lifecycle.load("m", find(ZeroDivisionError())).result(PATIENCE_S)
    assert "bug: the loader failed" in caplog.text
    assert not server.registry.entries()


def test_an_unloaded_model_finishes_its_work_and_stays_known(server: Server) -> None:
    """The answer comes when the last run is over."""
    busy = Busy()
    server.make = lambda _name, _version: busy.model
    server.load(spec("m", {1: "a"})).result(PATIENCE_S)
    busy.run()
    first, second = server.unload("m"), server.unload("m")
    eventually(lambda: server.status("m", 1).state is State.DRAINING, "it drains")
    assert server.registry.entries()["m"].is_unloaded
    with pytest.raises(ModelUnavailable, match=r"^model 'm' is not ready: draining \(unloaded\)$"):
        server.registry.get("m")
    assert not first.done()
    assert not second.done()
    busy.let_go()
    first.result(PATIENCE_S)
    second.result(PATIENCE_S)
    status = server.status("m", 1)
    assert (status.state, status.reason, status.model) == (State.CLOSED, "unloaded", None)
    server.assert_closed(busy.model)
    server.unload("m").result(PATIENCE_S)


def test_a_model_can_be_loaded_again_while_it_drains(server: Server) -> None:
    """The end of the drain does not touch what came after it."""
    busy = Busy()
    server.make = lambda _name, _version: busy.model
    server.load(spec("m", {1: "a"})).result(PATIENCE_S)
    busy.run()
    unloaded = server.unload("m")
    server.make = lambda name, version: model_of(doubling(), of=signature(name=name, version=version))
    server.load(spec("m", {1: "a"})).result(PATIENCE_S)
    assert server.registry.get("m") is server.models[1]
    assert not unloaded.done()
    busy.let_go()
    unloaded.result(PATIENCE_S)
    assert server.registry.get("m") is server.models[1]


def test_a_failed_version_is_unloaded_too(server: Server) -> None:
    """And vanishes with the next load that does not want it."""
    server.outcomes["a"] = LoadFailed("no")
    assert isinstance(server.load(spec("m", {1: "a"})).exception(PATIENCE_S), LoadFailed)
    server.unload("m").result(PATIENCE_S)
    assert server.status("m", 1).state is State.CLOSED
    server.load(spec("m", {2: "b"})).result(PATIENCE_S)
    assert list(server.registry.entries()["m"].versions) == [2]


def test_what_the_check_raises_is_the_outcome_of_an_unload(server: Server) -> None:
    """The model stays."""

    def check() -> None:
        raise NotFound("another repository")

    server.load(spec("m", {1: "a"})).result(PATIENCE_S)
    with pytest.raises(NotFound, match=r"^another repository$"):
        server.lifecycle.unload("m", check).result(PATIENCE_S)
    assert server.registry.is_ready("m")


def test_a_load_whose_caller_has_gone_does_not_begin(server: Server) -> None:
    """But one that has begun is brought to its end."""
    loading, go_on = threading.Event(), threading.Event()

    def on_load(_name: str, _version: int) -> None:
        loading.set()
        assert go_on.wait(PATIENCE_S)

    server.on_load = on_load
    running, waiting = server.load(spec("a", {1: "a"})), server.load(spec("b", {1: "b"}))
    assert loading.wait(PATIENCE_S)
    assert waiting.cancel()
    assert not running.cancel()
    go_on.set()
    running.result(PATIENCE_S)
    server.serve()
    assert server.loads == [("a", 1)]


def test_those_who_wait_for_a_load_hear_of_the_servers_end() -> None:
    """At once: also whoever asks later, and while a load that takes long is under way."""
    server, loading, go_on = Server(), threading.Event(), threading.Event()

    def on_load(_name: str, _version: int) -> None:
        loading.set()
        assert go_on.wait(PATIENCE_S)

    server.on_load = on_load
    waiting: list[Future[None]] = [server.load(spec("a", {1: "a"})), server.load(spec("b", {1: "b"}))]
    assert loading.wait(PATIENCE_S)
    server.lifecycle.refuse()
    waiting += [server.load(spec("c", {1: "c"})), server.unload("a")]
    for each in waiting:
        with pytest.raises(ShuttingDown, match=r"^the server is stopping; load models at another one$"):
            each.result(PATIENCE_S)
    go_on.set()
    assert server.lifecycle.stop(PATIENCE_S)
    assert server.loads == [("a", 1)]
    server.assert_closed(*server.models)


def test_stopping_waits_for_drains_that_are_under_way() -> None:
    """Within its time; what does not end in it is told."""
    for patience_s, finishes in ((0.0, False), (PATIENCE_S, True)):
        server, busy = Server(), Busy()
        server.make = lambda _name, _version, busy=busy: busy.model  # type: ignore[misc]  # binds the loop
        server.load(spec("m", {1: "a"})).result(PATIENCE_S)
        busy.run()
        server.unload("m")
        eventually(lambda server=server: server.status("m", 1).state is State.DRAINING, "it drains")  # type: ignore[misc]
        if finishes:
            busy.let_go()
        assert server.lifecycle.stop(patience_s) is finishes
        busy.let_go()
        busy.call.wait()


def test_models_that_are_not_served_do_not_pile_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers may load under any name. Those that the operator named stay known."""
    monkeypatch.setattr("sardonyx_server.engine.models.lifecycle._MAX_UNSERVED", 3)
    server.serve(spec("named", {1: "a"}))
    server.unload("named").result(PATIENCE_S)
    for index in range(6):
        server.load(spec(f"m{index}", {1: f"{index}"})).result(PATIENCE_S)
        if index != 1:
            server.unload(f"m{index}").result(PATIENCE_S)
    assert list(server.registry.entries()) == ["named", "m1", "m3", "m4", "m5"]


@pytest.mark.parametrize("loads", [True, False])
def test_what_comes_with_a_load_is_freed_when_that_is_over(server: Server, *, loads: bool) -> None:
    """Files of some hundred megabytes may; neither the loader's thread nor a circle of references keeps them."""

    class Files:
        def __call__(self) -> nullcontext[ModelSpec]:
            if not loads:
                raise LoadFailed("no")
            return nullcontext(spec("m", {1: "a"}))

    gc.collect()
    gc.disable()
    try:
        files = Files()
        kept = weakref.ref(files)
        answer = server.lifecycle.load("m", files)
        del files
        assert (answer.exception(PATIENCE_S) is None) is loads
        del answer
        eventually(lambda: kept() is None, "freed")
    finally:
        gc.enable()


def test_memory_is_given_back_when_a_large_model_is_gone_and_nothing_is_loaded() -> None:
    """Once; small models come and go without it."""
    given_back: list[str] = []
    server = Server(lambda: given_back.append("given back"))
    for name, file_bytes in (("small", 1_000), ("large", 100 * 2**20)):
        server.serve(spec(name, {1: name}))
        server.models[-1].info = info(runners=0, file_bytes=file_bytes)
    server.serve()
    eventually(lambda: bool(given_back), "memory is given back")
    server.assert_closed(*server.models)
    server.serve(spec("small", {1: "other"}))
    server.serve()
    server.assert_closed(server.models[-1])
    server.serve()
    assert given_back == ["given back"]
    assert server.lifecycle.stop(PATIENCE_S)
