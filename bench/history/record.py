"""A record of the release history: what is kept of a stored run, to plot p99 over releases.

Records are small, because they are kept forever.
Values of different machines are never compared; on one machine they show a drift that no single comparison sees.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from bench.store import Benchmark, Point, Run

__all__ = ["NotRecordable", "Record", "add_record", "make_record"]

_OWN: Final = "sardonyx"
_HALF: Final = 0.5
_PACKAGES: Final = ("python", "grpcio", "numpy", "onnxruntime", "protobuf")
_DIGITS: Final = 4


class NotRecordable(ValueError):
    """A run of which no record can be made. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run of one release on one machine.

    Attributes:
        release: Version of the project.
        commit: Commit of the project.
        date: ISO 8601, UTC.
        machine: Processor, cores and governor as text; no host name.
        versions: Versions of the server's dependencies.
        p99_ms: Description of a load -> p99.
        capacity_per_s: Model -> capacity in requests a second.
    """

    release: str
    commit: str
    date: str
    machine: str
    versions: Mapping[str, str] = field(default_factory=dict)
    p99_ms: Mapping[str, float] = field(default_factory=dict)
    capacity_per_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """The key: there is one record for each."""
        return self.release, self.machine

    def as_text(self) -> str:
        """The line, without its end."""
        return json.dumps(asdict(self), ensure_ascii=False)


def make_record(run: Run) -> Record:
    """What is kept of a run of the suite.

    Raises:
        NotRecordable: It is a quick run, has no release, or has no load of Sardonyx that the history contains.
    """
    if run.quick:
        raise NotRecordable("a quick run is no record: its loads are too short; run make bench")
    release = run.versions.get(_OWN, "")
    if not release:
        raise NotRecordable(f"the run does not say which release it measured: versions has no {_OWN!r}")
    own = [one for one in run.benchmarks if one.server == _OWN]
    p99_ms = dict(_p99s_ms(own))
    if not p99_ms:
        raise NotRecordable("the run has no valid load at half of a capacity and none of one caller: nothing to follow")
    return Record(
        release=release,
        commit=run.commit,
        date=run.started,
        machine=", ".join(filter(None, (run.cpu, f"{run.cores} cores", run.governor))),
        versions={name: run.versions[name] for name in _PACKAGES if name in run.versions},
        p99_ms=p99_ms,
        capacity_per_s={
            one.model: _rounded(one.figures["capacity_per_s"])
            for one in own
            if one.scenario == "ladder" and one.figures.get("capacity_per_s")
        },
    )


def add_record(file: Path, line: Record) -> bool:
    """Write a line into a file of lines, in place of that of the same release and machine.

    Args:
        file: Created if it does not exist.
        line: A new record is appended.

    Returns:
        Whether it took the place of another.
    """
    kept = file.read_text("utf-8").splitlines() if file.exists() else []
    others = [text for text in kept if text.strip() and _key(text) != line.key]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{text}\n" for text in (*others, line.as_text())), "utf-8")
    return len(others) < len([text for text in kept if text.strip()])


def _key(text: str) -> tuple[str, str]:
    data = json.loads(text)
    return data["release"], data["machine"]


def _p99s_ms(own: Iterable[Benchmark]) -> Iterable[tuple[str, float]]:
    for one in own:
        if one.scenario == "ladder":
            points = [point for point in one.points if point.valid and point.load.share_of_capacity == _HALF]
            yield from ((f"{one.model} at half load", _rounded(point.p99_ms)) for point in points[:1])
        elif one.scenario == "single":
            points = [point for point in one.points if _counts(point)]
            yield from ((f"{one.model}, one caller", _rounded(point.p99_ms)) for point in points[:1])


def _counts(point: Point) -> bool:
    return point.valid and point.answered > 0


def _rounded(value: float) -> float:
    """To the digits that mean something."""
    return float(f"{value:.{_DIGITS}g}")
