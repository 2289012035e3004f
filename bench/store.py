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
    """A load; see bench/README.md.

    Attributes:
        kind: ``open`` (requests are sent when they are due) or ``closed`` (each caller waits for its answer).
        arrivals: Arrival process of an open loop: ``poisson``, ``constant`` or ``burst``.
        rate_per_s: Rate of an open loop.
        callers: Number of callers of a closed loop.
        share_of_capacity: The rate as a share of the capacity that the same benchmark found.
    """

    kind: str = "open"
    arrivals: str | None = None
    rate_per_s: float | None = None
    callers: int | None = None
    share_of_capacity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The result of one load. Absent optional values are None.

    Attributes:
        load: The load.
        label: Role of the point in its benchmark, such as ``before`` or ``during``; "" if the load identifies it.
        rate_reached_per_s: Answers a second within the time of the load.
        answered: Requests.
        failed: Status -> requests that ended with it.
        slip_share: Share of requests sent more than 1 ms after they were due.
        valid: Whether the generator kept its schedule; the figures of an invalid point are ignored.
        p50_ms: Latency from when a request was due; likewise the others. 0 where nothing was answered.
        histogram: All latencies in ns, in HdrHistogram's encoded form.
        batch_rows_mean: Rows of a run of the model.
        batch_sizes: Rows -> number of runs with so many rows.
        batch_run_us: Rows -> mean time of a run with so many rows.
        cpu_s_per_1000: CPU seconds of the server's processes for 1,000 answers.
        generator_cpu_s_per_1000: CPU seconds of the generator for 1,000 answers.
        peak_memory_bytes: Resident memory of the server's processes during this load.
        stages_us: Where the mean latency went: ``transport``, ``decode``, ``queue``, ``gather``, ``run``, ``encode``.
        goodput_per_s: Answers a second that came within their deadline.
        allowance_per_s: Upper bound of the rate; see bench/README.md.
        floor_p99_ms: p99 of a bare echo and, on the cores it leaves, a simulated greedy queue at the same rate.
        floor_queue_p99_ms: p99 of the simulated queue on all cores, without any transport.
        own_runs_p99_ms: The same with the server's number of runners and its mean run times.
        rehearsed_p99_ms: p99 of a real greedy queue in-process with the same arrivals, beside a bare echo.
        seed: Seed of arrivals.
    """

    load: Load
    label: str = ""
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
    batch_run_us: Mapping[str, float] | None = None
    cpu_s_per_1000: float | None = None
    generator_cpu_s_per_1000: float | None = None
    peak_memory_bytes: int | None = None
    stages_us: Mapping[str, float] | None = None
    goodput_per_s: float | None = None
    allowance_per_s: float | None = None
    floor_p99_ms: float | None = None
    floor_queue_p99_ms: float | None = None
    own_runs_p99_ms: float | None = None
    rehearsed_p99_ms: float | None = None
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
    """One benchmark of a run: its ``extra_info``, with pytest-benchmark's ``name``.

    Attributes:
        name: The question in short: ``test_p99_at_half_load[iris]``.
        scenario: Kind of load; the list stands in bench/README.md.
        question: The question as a sentence.
        model: Name of the model; "" = it concerns none.
        server: ``sardonyx``, a reference or a peer.
        command: Measures this benchmark alone.
        points: Results of loads.
        figures: Other results, and figures of all points; names include units.
        remarks: Notes as sentences.
        commit: That was measured; "" = the run's.
        cpu: Model name of the processor that it was measured on; "" = the run's.
    """

    name: str
    scenario: str
    question: str = ""
    model: str = ""
    server: str = "sardonyx"
    command: str = ""
    points: Sequence[Point] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    commit: str = ""
    cpu: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read an entry of ``benchmarks``; a point without a load has that of the one before it."""
        extra = data["extra_info"]
        known = {one.name: extra[one.name] for one in fields(cls) if one.name in extra}
        load: Mapping[str, Any] = {}
        points = []
        for point in extra.get("points", ()):
            load = point.get("load", load)
            points.append(Point.from_json({**point, "load": load}))
        known["points"] = points
        return cls(**{**known, "name": data["name"]})

    def as_json(self) -> dict[str, Any]:
        """Write an entry of ``benchmarks``, without pytest-benchmark's ``stats``."""
        extra = asdict(self)
        return {"name": extra.pop("name"), "extra_info": extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stored run.

    Attributes:
        benchmarks: Its benchmarks.
        schema: Version of the file format.
        command: Command that reproduces it.
        seed: Seed of models and arrivals.
        quick: Whether it was a quick run.
        versions: Package -> version, ``python`` among them.
        cpu: Model name.
        cores: Number of usable cores.
        governor: CPU frequency governor; None if the system has none.
        started: ISO 8601, UTC.
        commit: Commit of the project.
    """

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
