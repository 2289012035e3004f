"""Reads bench/history/: one small JSON record for each release and machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["Entry", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is kept of a run.

    Attributes:
        release: Version of the project.
        commit: Commit of the project.
        date: ISO 8601.
        machine: Processor and cores, in words: values of different machines are never joined.
        p99_ms: Benchmark -> p99.
    """

    release: str
    commit: str = ""
    date: str = ""
    machine: str = ""
    p99_ms: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read a line; unknown keys are ignored."""
        return cls(
            release=str(data.get("release", "")),
            commit=str(data.get("commit", "")),
            date=str(data.get("date", "")),
            machine=str(data.get("machine", "")),
            p99_ms={str(name): float(value) for name, value in data.get("p99_ms", {}).items()},
        )


def read(places: Sequence[Path]) -> Sequence[Entry]:
    """All lines of some files, or of the ``.jsonl`` files of folders, from the oldest.

    Raises:
        ValueError: A line is no JSON; the message names file and line.
    """
    return sorted((entry for place in places for file in _files(place) for entry in _entries(file)), key=_date)


def _files(place: Path) -> Sequence[Path]:
    return sorted(place.glob("*.jsonl")) if place.is_dir() else [place]


def _entries(file: Path) -> Iterator[Entry]:
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        if line.strip():
            try:
                yield Entry.from_json(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}, line {number}: expected JSON, got {error}") from error


def _date(entry: Entry) -> str:
    return entry.date
