"""The README's section on performance: generated from the runs that are kept, and from nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.report.readme import BEGIN, END, RUNS, put, section
from tests.docs.documents import README, ROOT
from tests.docs.documents import section as section_of

KEPT = sorted(RUNS.glob("*.json"))
_MOST_BYTES = 200_000


def test_the_section_is_what_the_kept_runs_say() -> None:
    """Made anew with: make bench-readme."""
    text = README.read_text("utf-8")
    assert put(text, section()) == text


def test_no_number_is_typed_by_hand() -> None:
    """Outside the marks the section has no digit."""
    text = section_of(README, "Performance")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert re.findall(r"\S*\d\S*", before + after) == []


def test_a_run_is_kept() -> None:
    """The section stands on something."""
    assert KEPT


@pytest.mark.parametrize("file", KEPT, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_kept_is_small_and_says_where_it_comes_from(file: Path) -> None:
    """No histograms; the commit and the processor."""
    assert file.stat().st_size < _MOST_BYTES
    text = file.read_text("utf-8")
    assert "histogram" not in text
    data = json.loads(text)
    around = data.get("sardonyx", data)
    assert around["commit"]
    assert around["cpu"]
