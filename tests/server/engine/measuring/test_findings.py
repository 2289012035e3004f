"""What was measured is found again by its content, within bounds."""

from __future__ import annotations

from sardonyx_server.engine.measuring.findings import Findings, FindingsByContent
from sardonyx_server.engine.measuring.verdict import CurvePoint, Verdict


def findings(seconds: float = 0.001) -> Findings:
    """Of a model whose run takes so long."""
    return Findings(
        verdict=Verdict(batchable=True, reason="made up", curve=(CurvePoint(rows=1, seconds=seconds),)),
    )


def test_the_same_content_is_found_again() -> None:
    """And no other."""
    kept, found = FindingsByContent(), findings()
    kept.keep(("a", b"config"), found)
    assert kept.get(("a", b"config")) is found
    assert kept.get(("a", b"other")) is None


def test_what_was_found_later_counts() -> None:
    """A load that measured the rest replaces one that had not."""
    kept, later = FindingsByContent(), findings(0.002)
    kept.keep("a", findings())
    kept.keep("a", later)
    assert kept.get("a") is later
    assert len(kept) == 1


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    """Looking it up is a use."""
    kept = FindingsByContent(most=2)
    for key in ("a", "b"):
        kept.keep(key, findings())
    kept.get("a")
    kept.keep("c", findings())
    assert [key for key in ("a", "b", "c") if kept.get(key) is not None] == ["a", "c"]


def test_a_model_that_could_not_be_run_is_not_remembered() -> None:
    """It was the moment perhaps, such as one without memory."""
    kept = FindingsByContent()
    kept.keep("a", Findings(verdict=Verdict(batchable=False, reason="could not be probed: no memory")))
    assert kept.get("a") is None
