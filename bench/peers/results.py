"""The stored run of a comparison with peers: made, and added to a file that is there already. Measures nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from bench.peers.compare import Plan
from bench.peers.verdict import Measure, Verdict
from bench.store import Benchmark, Run
from bench.surroundings import surroundings
from sardonyx_server.runtime.cores import available_cores

__all__ = ["kept", "write"]

_SCENARIOS: Final = {Measure.THROUGHPUT: "closed", Measure.P99: "ladder"}
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def write(file: Path, verdicts: Sequence[Verdict], *, plan: Plan, started: datetime, quick: bool) -> None:
    """Store what was found.

    Args:
        file: Where; benchmarks of other names in it are kept.
        verdicts: All of this run.
        plan: How it was measured.
        started: When.
        quick: Whether short turns were asked for.
    """
    around = surroundings("peers")
    command = shlex.join(around["command"])
    found = [one for verdict in verdicts for one in _benchmarks(verdict, command)]
    earlier = Run.read(file).benchmarks if file.exists() else ()
    run = Run(
        benchmarks=[*kept(earlier, found), *found],
        command=command,
        seed=plan.seed,
        quick=quick,
        versions={"python": around["python"], **around["versions"]},
        cpu=around["cpu"],
        cores=available_cores(),
        governor=_GOVERNOR.read_text().strip() if _GOVERNOR.exists() else None,
        started=started.isoformat(timespec="seconds"),
        commit=around["commit"],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(run.as_json(), indent=1) + "\n")


def kept(earlier: Sequence[Benchmark], found: Sequence[Benchmark]) -> list[Benchmark]:
    """Of an earlier piece of the run, what was not measured anew."""
    names = {one.name for one in found}
    return [one for one in earlier if one.name not in names]


def _benchmarks(verdict: Verdict, command: str) -> list[Benchmark]:
    scenario = "limits" if verdict.bar is None else _SCENARIOS[verdict.measure]
    return verdict.benchmarks(scenario=scenario, command=command)
