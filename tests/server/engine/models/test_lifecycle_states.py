"""Any order of loads and unloads, while the disk changes and runs hold up drains, ends in the state it should."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.running.model import Model
from sardonyx_server.errors import LoadFailed
from tests.e2e.servers import eventually
from tests.server.engine.doubles import PATIENCE_S
from tests.server.engine.models.loaders import Busy, Server, broken, spec

NAMES = ("m", "n")
# What becomes of files with these fingerprints.
GOOD, BAD = ("good 1", "good 2", "good 3"), ("bad 1", "bad 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One version that should be ready: what it is made of, and whether that lies on disk still."""

    fingerprint: str
    is_wanted: bool = True


class Machine(RuleBasedStateMachine):
    """The lifecycle, beside a model of it that does one thing after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.server.outcomes = {fingerprint: LoadFailed(fingerprint) for fingerprint in BAD}
        self.server.make = self.make
        self.runs: dict[Model, Busy] = {}
        self.held: list[Busy] = []
        self.disk: dict[str, dict[int, str] | None] = {name: {1: GOOD[0]} for name in NAMES}
        self.served: dict[str, dict[int, Served]] = {name: {} for name in NAMES}
        self.loads: list[tuple[Future[None], bool]] = []
        self.unloads: list[Future[None]] = []

    def make(self, name: str, version: int) -> Model:
        """A model that can be kept busy."""
        busy = Busy(name, version)
        self.runs[busy.model] = busy
        return busy.model

    @rule(
        name=st.sampled_from(NAMES),
        versions=st.none() | st.dictionaries(st.integers(1, 3), st.sampled_from(GOOD + BAD), min_size=1),
    )
    def change(self, name: str, versions: dict[int, str] | None) -> None:
        """Other files lie on disk; None is no model at all."""
        self.disk[name] = versions

    @rule(name=st.sampled_from(NAMES))
    def load(self, name: str) -> None:
        """Ask for what lies on disk now; do not wait."""
        versions = self.disk[name]
        if versions is None:
            self.loads.append((self.server.load(broken(name, "no model")), False))
            return
        self.loads.append((self.server.load(spec(name, dict(sorted(versions.items())))), self.expect(name, versions)))

    def expect(self, name: str, versions: dict[int, str]) -> bool:
        """What a load makes of what was served; whether all of it works."""
        served = self.served[name]
        works = True
        for version, fingerprint in versions.items():
            if fingerprint in GOOD:
                served[version] = Served(fingerprint=fingerprint)
                continue
            works = False
            if version in served:
                served[version] = replace(served[version], is_wanted=False)
        if any(served[version].is_wanted for version in versions if version in served):
            self.served[name] = {version: one for version, one in served.items() if version in versions}
        return works

    @rule(name=st.sampled_from(NAMES))
    def unload(self, name: str) -> None:
        """Ask for its end; do not wait."""
        self.unloads.append(self.server.unload(name))
        self.served[name] = {}

    @rule(name=st.sampled_from(NAMES))
    def occupy(self, name: str) -> None:
        """Begin a run that holds up the drain of the newest version."""
        self.settle()
        entry = self.server.registry.entries().get(name)
        model = entry.newest_ready if entry else None
        if model is not None and self.runs[model] not in self.held:
            self.held.append(self.runs[model])
            self.held[-1].run()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """End such a run; it is answered, whatever became of its version."""
        busy = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        busy.let_go()
        busy.call.wait()
        assert not busy.call.errors

    @rule()
    def settle(self) -> None:
        """Wait for what was asked: loads wait for no drain, an unload for those of its model."""
        for load, works in self.loads:
            error = load.exception(PATIENCE_S)
            assert (error is None) is works
            assert works or isinstance(error, LoadFailed)
        self.loads.clear()
        if not self.held:
            for unload in self.unloads:
                unload.result(PATIENCE_S)
            self.unloads.clear()
        # The loader may be at an unload behind the last load.
        assert self.server.lifecycle.reconcile({}).wait(PATIENCE_S)
        self.compare()

    def compare(self) -> None:
        """What is ready is what should be, made of the right files."""
        for name in NAMES:
            entry = self.server.registry.entries().get(name)
            ready = {
                number: self.server.made_of[status.model]
                for number, status in (entry.versions.items() if entry else ())
                if status.model is not None
            }
            assert ready == {number: one.fingerprint for number, one in self.served[name].items()}

    @invariant()
    def nothing_is_ready_without_a_model(self) -> None:
        """At no moment."""
        for entry in self.server.registry.entries().values():
            for status in entry.versions.values():
                assert (status.state is State.READY) is (status.model is not None)

    def teardown(self) -> None:
        """In the end every version is closed and nothing drains."""
        for busy in self.held:
            busy.let_go()
        self.held.clear()
        self.settle()
        for name in NAMES:
            self.server.unload(name).result(PATIENCE_S)
            entry = self.server.registry.entries().get(name)
            states = {status.state for status in entry.versions.values()} if entry else set()
            assert states <= {State.CLOSED}
        eventually(lambda: not any(map(self.server.lifecycle._drainer.of, NAMES)), "nothing drains")
        assert self.server.lifecycle.stop(PATIENCE_S)
        assert all(map(self.server.is_closed, self.server.models))


TestLifecycleStates = Machine.TestCase
TestLifecycleStates.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
