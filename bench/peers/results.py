"""The stored run of a comparison with peers: created, or merged into an existing file. Measures nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.peers.ab_comparison import Pair
from bench.peers.verdict import Measure, Verdict
from bench.store import Benchmark, Run

__all__ = ["judged_anew", "kept", "write"]

_OURS: Final = "sardonyx"
_PIECES: Final = re.compile(r"in (\d+) pieces")
_SCENARIOS: Final = {Measure.THROUGHPUT: "closed", Measure.P99: "ladder"}


def write(file: Path, verdicts: Sequence[Verdict], fields: Mapping[str, Any]) -> None:
    """Store what was found.

    Args:
        file: Where; benchmarks of other names in it are kept.
        verdicts: All of this run.
        fields: Fields of the run, as :func:`bench.environment.run_fields` gives them.
    """
    command, commit, cpu = (str(fields.get(name, "")) for name in ("command", "commit", "cpu"))
    found = [replace(one, commit=commit, cpu=cpu) for verdict in verdicts for one in _benchmarks(verdict, command)]
    earlier = _earlier(file)
    benchmarks = [*kept(earlier.benchmarks, found), *found]
    pieces = _untold(earlier) + len(_commands(benchmarks))
    run = dict(fields)
    if pieces > 1:
        run["command"] = f"python -m bench.peers, in {pieces} pieces, the last: {fields['command']}"
    file.parent.mkdir(parents=True, exist_ok=True)
    stored = {"sardonyx": run, "benchmarks": [one.as_json() for one in benchmarks]}
    file.write_text(json.dumps(stored, indent=1) + "\n")


def _earlier(file: Path) -> Run:
    """A file that may not be there; each benchmark with the commit that was measured, and the processor."""
    if not file.exists():
        return Run()
    run = judged_anew(Run.read(file))
    benchmarks = [replace(one, commit=one.commit or run.commit, cpu=one.cpu or run.cpu) for one in run.benchmarks]
    return replace(run, benchmarks=benchmarks)


def _commands(benchmarks: Sequence[Benchmark]) -> set[str]:
    return {one.command for one in benchmarks if one.command}


def _untold(run: Run) -> int:
    """Pieces of a run that is kept in small form, which does not say the command of each."""
    said = _PIECES.search(run.command)
    return 0 if said is None else max(0, int(said[1]) - len(_commands(run.benchmarks)))


def judged_anew(run: Run) -> Run:
    """A stored run with the intervals that its turns have by this checkout, so that all pieces are judged alike."""
    by_name = {one.name: one for one in run.benchmarks}

    def anew(one: Benchmark) -> Benchmark:
        ours = by_name.get(f"{one.name.removesuffix(']')}-{_OURS}]")
        if ours is None or not one.figures:
            return one
        verdict = Verdict(
            peer=one.server,
            model=one.model,
            question=one.question,
            wording=one.question,
            measure=Measure.P99 if one.scenario == _SCENARIOS[Measure.P99] else Measure.THROUGHPUT,
            pairs=[Pair(ours=point, theirs=other) for point, other in zip(ours.points, one.points, strict=True)],
            bar=one.figures.get("bar"),
            seed=run.seed,
        )
        return replace(one, figures=verdict.figures)

    return replace(run, benchmarks=[anew(one) for one in run.benchmarks])


def kept(earlier: Sequence[Benchmark], found: Sequence[Benchmark]) -> list[Benchmark]:
    """Of an earlier piece of the run, what was not measured anew."""
    names = {one.name for one in found}
    return [one for one in earlier if one.name not in names]


def _benchmarks(verdict: Verdict, command: str) -> list[Benchmark]:
    scenario = "limits" if verdict.bar is None else _SCENARIOS[verdict.measure]
    return verdict.benchmarks(scenario=scenario, command=command)
