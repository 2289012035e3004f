"""Hand-made numbers for the tests of metrics."""

from __future__ import annotations

from typing import Any

from sardonyx_server.engine.batching.batch import CLOSED_BY
from sardonyx_server.engine.statistics import Duration, Histogram, VersionStatistics
from sardonyx_server.engine.telemetry.failures import FAILURES, REJECTIONS

__all__ = ["statistics"]


def statistics(model: str = "iris", version: int = 1, **facts: Any) -> VersionStatistics:
    """Statistics of a version, each duration of a time of its own."""
    microseconds = {
        name: Duration(count=number + 1, ns=(number + 1) * 1_000_000 + 999)
        for number, name in enumerate(
            ("success", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
        )
    }
    few = Histogram(bounds=(0.001, 0.1), counts=(3, 2, 1), total=1.75)
    return VersionStatistics(
        **{
            "model": model,
            "version": version,
            "last_inference_ms": 1_700_000_000_250,
            "inference_count": 40,
            "execution_count": 5,
            "fail": Duration(count=1, ns=7),
            "batches": (),
            "pending_requests": 2,
            "closed_by": dict.fromkeys(CLOSED_BY, 0) | {"full": 4},
            "failures": dict.fromkeys(FAILURES, 0) | {"BACKEND": 1},
            "rejections": dict.fromkeys(REJECTIONS, 0) | {"queue_full": 6},
            "request_s": few,
            "queue_s": few,
            "compute_s": few,
            "batch_rows": Histogram(bounds=(1.0, 1024.0), counts=(1, 4, 0), total=40),
            "responses": {},
            "provider": "CPUExecutionProvider",
            "load_s": 0.25,
            **microseconds,
            **facts,
        }
    )
