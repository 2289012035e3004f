"""The compact form of runs that bench/runs/ keeps: what the README and docs/performance.md show, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, Final

from bench.bars import Bar, Outcome
from bench.report.points import OURS
from bench.store import Benchmark, Load, Point, Run

__all__ = ["Bars", "NotAResult", "compact", "load_archived", "name_of"]

# Three more than are shown, so that rounding twice gives the same digits.
_DIGITS: Final = 6
# Fields of a bars file about its environment, without the machine's kernel.
_AROUND: Final = (
    "date",
    "commit",
    "changed_files",
    "command",
    "seed",
    "python",
    "versions",
    "cpu",
    "cores",
    "generator",
    "turns",
    "seconds",
)
_PLACE: Final = re.compile(r" --json[ =]\S+")
# Used only by the report of a full run.
_LEFT_OUT: Final = frozenset(
    {
        *("histogram", "batch_sizes", "stages_us", "mean_ms", "max_ms"),
        *("cpu_s_per_1000", "generator_cpu_s_per_1000", "peak_memory_bytes"),
    }
)
# There are more points beside peers than in all else. The command of the run says how all of them were measured.
_LEFT_OUT_BESIDE: Final = _LEFT_OUT | {
    *("p50_ms", "p90_ms", "p99_9_ms", "goodput_per_s", "batch_rows_mean", "arrivals", "label", "slip_share", "seed"),
    *("answered", "batch_run_us", "command"),
}


class NotAResult(ValueError):
    """The file was not written by a command under bench/."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A results file of ``bench/command.py``.

    Attributes:
        around: Date, environment and options of the measurement.
        outcomes: In the order of the file.
    """

    around: Mapping[str, Any]
    outcomes: Sequence[Outcome]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Bars:
        """Read a whole file's content."""
        outcomes = [
            Outcome(
                bar=Bar(
                    name=one["bar"],
                    target=one["target"],
                    at_least=one["at_least"],
                    unit=one["unit"],
                    slack=one["slack"],
                ),
                values=one["values"],
                remark=one["remark"],
            )
            for one in data["outcomes"]
        ]
        around = {name: data[name] for name in _AROUND if name in data}
        command = _PLACE.sub("", " ".join(around["command"])).split()
        return cls(around={**around, "command": command}, outcomes=outcomes)


def load_archived(data: Mapping[str, Any]) -> Bars | Run:
    """Load a results file.

    Raises:
        NotAResult: Neither outcomes nor benchmarks.
    """
    try:
        if "outcomes" in data:
            return Bars.from_json(data)
        if "benchmarks" in data:
            return _without_files(Run.from_json(data))
    except (KeyError, TypeError) as error:
        raise NotAResult(f"expected a results file of make bench; {type(error).__name__}: {error}") from error
    raise NotAResult(f"expected a results file with 'outcomes' or 'benchmarks', got the keys {sorted(data)}")


def _without_files(run: Run) -> Run:
    """Remove the paths of results files from its commands: they belong to one machine."""
    benchmarks = [replace(one, command=_PLACE.sub("", one.command)) for one in run.benchmarks]
    return replace(run, command=_PLACE.sub("", run.command), benchmarks=benchmarks)


def name_of(result: Bars | Run) -> str:
    """``core`` of ``python -m bench.core``, ``peers`` of ``make bench-peers``, ``suite`` of ``make bench``."""
    if isinstance(result, Bars):
        return next((word.removeprefix("bench.") for word in result.around["command"] if word.startswith("bench.")), "")
    found = re.search(r"\bbench[.-](\w+)", result.command)
    return "suite" if found is None or found[1] == "quick" else found[1]


def compact(result: Bars | Run) -> str:
    """The text to keep: floats to six digits; defaults, histograms and what was said before are left out."""
    if isinstance(result, Bars):
        outcomes = [
            {
                "bar": one.bar.name,
                "target": one.bar.target,
                "at_least": one.bar.at_least,
                "unit": one.bar.unit,
                "slack": one.bar.slack,
                "values": _rounded(list(one.values)),
                "remark": one.remark,
            }
            for one in result.outcomes
        ]
        return json.dumps({**result.around, "outcomes": outcomes}, indent=1) + "\n"
    beside = name_of(result) == "peers"
    left_out = _LEFT_OUT_BESIDE if beside else _LEFT_OUT
    benchmarks = [
        {
            "name": one.name,
            "extra_info": {**_told(one, left_out), "points": _points(one.points, left_out)},
        }
        for one in (_said_once(result) if beside else result.benchmarks)
    ]
    own = result.as_json()
    return json.dumps({"sardonyx": own["sardonyx"], "benchmarks": benchmarks}, indent=0, separators=(",", ":")) + "\n"


def _said_once(run: Run) -> Iterator[Benchmark]:
    """Without the remarks of an earlier one; where nothing was measured they are the reason, and stay.

    Our own points beside a peer's have the question of the peer's. A commit or processor that is the run's is left out.
    """
    said = set[tuple[str, ...]]()
    asked = set[str]()
    for whole in run.benchmarks:
        one = replace(
            whole,
            commit="" if whole.commit == run.commit else whole.commit,
            cpu="" if whole.cpu == run.cpu else whole.cpu,
        )
        remarks, question = tuple(one.remarks), one.question
        if one.figures:
            yield replace(one, remarks=() if remarks in said else remarks)
        else:
            yield replace(one, question="" if one.server == OURS and question in asked else question)
        said.add(remarks)
        asked.add(question)


def _told(benchmark: Benchmark, left_out: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in _changed(benchmark, left_out).items() if name not in {"name", "points"}}


def _points(points: Sequence[Point], left_out: frozenset[str]) -> list[dict[str, Any]]:
    """Each with its load, unless that is the load of the point before it, as in turns."""
    found: list[dict[str, Any]] = []
    before: Load | None = None
    for point in points:
        told = {name: value for name, value in _changed(point, left_out).items() if name != "load"}
        found.append(told if point.load == before else {"load": _changed(point.load, left_out), **told})
        before = point.load
    return found


def _changed(record: Benchmark | Point | Load, left_out: frozenset[str]) -> dict[str, Any]:
    """Fields that differ from their defaults, without the excluded ones."""
    found: dict[str, Any] = {}
    for one in fields(record):
        value = getattr(record, one.name)
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        if value != default and one.name not in left_out:
            found[one.name] = _rounded(value)
    return found


def _rounded(value: Any) -> Any:
    """Round floats to six digits, also in containers."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]
    return value
