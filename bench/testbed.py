"""The servers of a group of bars, all up while it is measured, and ratios of their turns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.arms import Arm, Sample, fetch_answer
from bench.bars import Bar, Outcome
from bench.cases import Case
from bench.control import ROOT
from bench.limits.reference import ReferenceModel
from bench.load.result import Generator, Streams
from bench.serving import Figures, Server, bare_echo, serving

__all__ = ["Plan", "Testbed", "Turns", "facts_of", "outcome", "ratios", "turns_as_json"]

Turns = list[dict[str, Sample]]
"""For each turn: arm name -> sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Options of a measurement.

    Attributes:
        folder: Folder for the group's repository; empty at first.
        generator: The load generator.
        cores: Number of cores, shared by server and generator.
        turns: How often each arm is measured.
        seconds: Approximate duration of each measurement.
        before: A commit to compare with; "" = none.
    """

    folder: Path
    generator: Generator
    cores: int
    turns: int
    seconds: float
    before: str = ""


class Testbed:
    """The servers of one group. All are up while it is measured; the idle ones wait in a poll."""

    def __init__(self, plan: Plan, case: Case, streams: Streams, stack: ExitStack) -> None:
        self._plan = plan
        self._case = case
        self._streams = streams
        self._stack = stack
        self.reference = ReferenceModel(case)
        self._answer_bytes = 0

    def server(self, name: str, *, root: Path = ROOT, **settings: object) -> Arm:
        """A Sardonyx server, after its output was compared with the model's own.

        Args:
            name: Of the arm.
            root: Of the copy of the project that it runs.
            **settings: Server settings.
        """
        started = self._stack.enter_context(serving(self._case.repository, checkout=root, settings=settings))
        answer = fetch_answer(started.address, self._case.request)
        self.reference.check(answer)
        self._answer_bytes = len(answer)
        return self._arm(name, started, len(answer), model=self._case.name)

    def echo(self) -> Arm:
        """A bare echo of the message."""
        return self._arm("echo", self._stack.enter_context(bare_echo(None)), len(self._case.request))

    def echo_answering(self, answer_bytes: int | None = None) -> Arm:
        """A bare echo that responds with other bytes, by default as many as the server. Requires: :meth:`server`."""
        size = self._answer_bytes if answer_bytes is None else answer_bytes
        return self._arm("echo", self._stack.enter_context(bare_echo(size)), size)

    def _arm(self, name: str, server: Server, answer_bytes: int, *, model: str = "") -> Arm:
        return Arm(
            name,
            server,
            model=model,
            request=self._case.request,
            answer_bytes=answer_bytes,
            streams=self._streams,
            generator=self._plan.generator,
        )


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
    """An outcome whose remark has the rates of all arms and the server's configuration."""
    rates = ", ".join(f"{name} {median(turn[name].load.rate for turn in turns):,.0f}/s" for name in turns[0])
    fact = facts_of(server)
    split = f"{fact['runners']} runners x {fact['threads']} threads" if fact["runners"] else "inline"
    batch = median(turn["server"].batch_rows for turn in turns)
    split += f", batches of {batch:.1f} rows, at most {max(1, fact['max_rows'])}"
    return Outcome(
        bar=bar,
        values=values,
        remark="; ".join(filter(None, (rates, remark, split))),
        details={"turns": turns_as_json(turns), "model": fact, **(details or {})},
    )


def facts_of(server: Arm) -> dict[str, Any]:
    """How the server set up its one model."""
    return dict(server.server.facts[server.model])


def turns_as_json(turns: Turns) -> list[dict[str, Any]]:
    """For the results file."""
    return [
        {
            name: {"rate": sample.load.rate, **asdict(sample.load), "server": _as_json(sample.server)}
            for name, sample in turn.items()
        }
        for turn in turns
    ]


def _as_json(figures: Figures) -> dict[str, float]:
    return {"cpu_s": figures.cpu_s, "rows": figures.rows, "batches": sum(figures.runs.values())}
