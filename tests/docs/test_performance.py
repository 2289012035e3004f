"""The README's figures and docs/performance.md: generated from the runs that are kept, and from nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.report.readme import BEGIN, END, RUNS, figures, put, section
from tests.docs.documents import README, ROOT
from tests.docs.documents import section as section_of

PAGE = ROOT / "docs/performance.md"
KEPT = sorted(RUNS.glob("*.json"))
_MOST_BYTES = 200_000


def test_both_documents_are_what_the_kept_runs_say() -> None:
    """Made anew with: make bench-readme."""
    for document, generated in ((README, figures()), (PAGE, section())):
        text = document.read_text("utf-8")
        assert put(text, generated) == text


def test_no_number_is_typed_by_hand() -> None:
    """Outside the marks neither has a digit."""
    for text in (section_of(README, "Performance"), PAGE.read_text("utf-8")):
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
