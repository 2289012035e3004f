"""What was measured is found again by its content, within bounds."""

from __future__ import annotations

from sardonyx_server.engine.profiling.measurement_cache import MeasurementCache, Measurements
from sardonyx_server.engine.profiling.verdict import CurvePoint, Verdict


def measurements(seconds: float = 0.001) -> Measurements:
    """Of a model whose run takes so long."""
    return Measurements(
        verdict=Verdict(batchable=True, reason="made up", curve=(CurvePoint(rows=1, seconds=seconds),)),
    )


def test_the_same_content_is_found_again() -> None:
    """And no other."""
    kept, found = MeasurementCache(), measurements()
    kept.put(("a", b"config"), found)
    assert kept.get(("a", b"config")) is found
    assert kept.get(("a", b"other")) is None


def test_what_was_found_later_counts() -> None:
    """A load that measured the rest replaces one that had not."""
    kept, later = MeasurementCache(), measurements(0.002)
    kept.put("a", measurements())
    kept.put("a", later)
    assert kept.get("a") is later
    assert len(kept) == 1


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    """Looking it up is a use."""
    kept = MeasurementCache(max_entries=2)
    for key in ("a", "b"):
        kept.put(key, measurements())
    kept.get("a")
    kept.put("c", measurements())
    assert [key for key in ("a", "b", "c") if kept.get(key) is not None] == ["a", "c"]


def test_a_model_that_could_not_be_run_is_not_remembered() -> None:
    """It was the moment perhaps, such as one without memory."""
    kept = MeasurementCache()
    kept.put("a", Measurements(verdict=Verdict(batchable=False, reason="could not be probed: no memory")))
    assert kept.get("a") is None
