"""What a run is said to take, and what is left of a budget, by times moved by hand."""

from __future__ import annotations

import pytest

from sardonyx_server.engine.profiling.run_timer import RunTimer
from sardonyx_server.runtime.thread_cpu_time import ThreadCpuTime
from tests.server.engine.doubles import HandClock
from tests.server.engine.profiling.probes import MS, session


class Machine:
    """A clock, and what a thread has had of a core meanwhile."""

    def __init__(self, *, threads: int = 1, provider: str = "CPUExecutionProvider") -> None:
        self.clock = HandClock()
        self.own = ThreadCpuTime(0.0, 0)
        model = session()
        model.threads, model.provider = threads, provider
        self.timer = RunTimer(model, clock=self.clock, own=lambda: self.own, budget_s=0.5)

    def run(self, passed_ms: float, own_ms: float, *, waits: int = 0) -> float:
        """Time a run during which so much passes; milliseconds."""

        def run() -> None:
            self.clock.now_s += passed_ms * MS
            self.own = ThreadCpuTime(self.own.seconds + own_ms * MS, self.own.voluntary_switches + waits)

        return round(self.timer.time(run)[1] / MS, 6)


def test_the_time_that_others_had_the_core_is_not_the_runs() -> None:
    """A run of 2 ms that was interrupted for 3 takes 2."""
    assert Machine().run(5, 2) == 2


def test_what_the_run_returns_is_handed_on() -> None:
    """The timer looks at time only."""
    assert Machine().timer.time(lambda: "answer")[0] == "answer"


def test_a_run_takes_no_longer_than_passes_by_the_clock() -> None:
    """To ask for a thread's time takes time as well, which tiny runs would be charged."""
    assert Machine().run(0.005, 0.007) == 0.005


def test_a_model_that_waits_in_every_run_takes_what_passes() -> None:
    """It waits for a device, or for threads that its session does not tell of."""
    device = Machine()
    assert [device.run(5, 1, waits=1) for _ in range(3)] == [5, 5, 5]


def test_a_model_that_ran_once_without_waiting_waits_for_the_interpreter_only() -> None:
    """The server answers callers meanwhile, and holds the interpreter's lock when the run ends."""
    machine = Machine()
    assert [machine.run(5, 2, waits=1), machine.run(2, 2), machine.run(5, 2, waits=1)] == [5, 2, 2]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_run_on_several_threads_takes_what_passes(threads: int) -> None:
    """One of them does not know what the others did; 0 is a session on a GPU."""
    assert Machine(threads=threads).run(5, 2) == 5


def test_a_run_on_another_provider_takes_what_passes() -> None:
    """OpenVINO has threads of its own."""
    assert Machine(provider="OpenVINOExecutionProvider").run(5, 2) == 5


def test_the_time_of_others_is_not_charged_to_the_budget() -> None:
    """Else a busy machine would leave the larger batches untried."""
    machine = Machine()
    machine.run(400, 100)
    assert machine.timer.left_s == pytest.approx(0.4)
    assert machine.timer.affords(0.3)
    assert not machine.timer.affords(0.5)


def test_a_budget_lasts_four_times_as_long_at_most() -> None:
    """Whoever waits for the model waits; beyond three budgets, what others take is charged."""
    machine = Machine()
    machine.run(1900, 10)
    assert machine.timer.left_s == pytest.approx(0.1)


def test_a_grant_adds_to_the_budget() -> None:
    """The very first run of a session is given back so."""
    machine = Machine()
    machine.run(300, 300)
    machine.timer.grant(0.3)
    assert machine.timer.left_s == pytest.approx(0.5)
