"""The shape of a stored run: pytest-benchmark's JSON with what our suite adds. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

__all__ = ["Benchmark", "Load", "Point", "Run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was asked of the server; see bench/README.md."""

    kind: str = "open"
    arrivals: str | None = None
    rate_per_s: float | None = None
    callers: int | None = None
    share_of_capacity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One load and what came of it. Absent optional values are None."""

    load: Load
    rate_reached_per_s: float = 0.0
    answered: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    slip_share: float = 0.0
    valid: bool = True
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    p99_9_ms: float = 0.0
    max_ms: float = 0.0
    mean_ms: float = 0.0
    histogram: str = ""
    batch_rows_mean: float | None = None
    batch_sizes: Mapping[str, int] | None = None
    cpu_s_per_1000: float | None = None
    peak_memory_bytes: int | None = None
    stages_us: Mapping[str, float] | None = None
    goodput_per_s: float | None = None
    allowance_per_s: float | None = None
    floor_p99_ms: float | None = None
    seed: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read; unknown keys are ignored."""
        known = {one.name: data[one.name] for one in fields(cls) if one.name in data}
        load = known["load"]
        known["load"] = Load(**{one.name: load[one.name] for one in fields(Load) if one.name in load})
        return cls(**known)

    def as_json(self) -> dict[str, Any]:
        """Write."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark of a run: its ``extra_info``, with pytest-benchmark's ``name``."""

    name: str
    scenario: str
    question: str = ""
    model: str = ""
    server: str = "sardonyx"
    command: str = ""
    points: Sequence[Point] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read an entry of ``benchmarks``."""
        extra = data["extra_info"]
        known = {one.name: extra[one.name] for one in fields(cls) if one.name in extra}
        known["points"] = [Point.from_json(point) for point in extra.get("points", ())]
        return cls(**{**known, "name": data["name"]})

    def as_json(self) -> dict[str, Any]:
        """Write an entry of ``benchmarks``, without pytest-benchmark's ``stats``."""
        extra = asdict(self)
        return {"name": extra.pop("name"), "extra_info": extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stored run."""

    benchmarks: Sequence[Benchmark] = ()
    schema: int = 1
    command: str = ""
    seed: int = 0
    quick: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    cpu: str = ""
    cores: int = 0
    governor: str | None = None
    started: str = ""
    commit: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read a whole file's content."""
        own = data.get("sardonyx", {})
        known = {one.name: own[one.name] for one in fields(cls) if one.name in own and one.name != "benchmarks"}
        benchmarks = [Benchmark.from_json(one) for one in data["benchmarks"] if "scenario" in one.get("extra_info", {})]
        return cls(benchmarks=benchmarks, **known)

    def as_json(self) -> dict[str, Any]:
        """Write what our suite adds."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "benchmarks"}
        return {"sardonyx": own, "benchmarks": [one.as_json() for one in self.benchmarks]}

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file."""
        return cls.from_json(json.loads(file.read_text()))
