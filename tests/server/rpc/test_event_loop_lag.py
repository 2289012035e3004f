"""How long the lane was away, by a clock that a test moves."""

from __future__ import annotations

import pytest

from sardonyx_server.engine.telemetry.counters import SECONDS_BOUNDS
from sardonyx_server.rpc.event_loop_lag import EventLoopLag
from tests.server.engine.doubles import HandClock
from tests.server.rpc.transports import opened, until


def test_each_time_away_is_counted() -> None:
    """Their sum, and how often which."""
    clock = HandClock()
    lag = EventLoopLag(clock)

    def work(seconds: float) -> None:
        clock.now_s += seconds

    for seconds in (0.25, 2.0, 0.5):
        lag.doing(lambda seconds=seconds: work(seconds))  # type: ignore[misc]  # a default binds the loop
    told = lag.snapshot()
    assert told.total == 2.75
    assert told.bounds == SECONDS_BOUNDS
    found = {bound: count for bound, count in zip(SECONDS_BOUNDS, told.counts, strict=False) if count}
    assert found == {0.25: 1, 0.5: 1, 2.5: 1}


def test_what_the_work_raises_goes_on() -> None:
    """It is the loop's to deal with."""
    lag = EventLoopLag(HandClock())
    with pytest.raises(ZeroDivisionError):
        lag.doing(lambda: 1 / 0)  # type: ignore[arg-type]
    assert sum(lag.snapshot().counts) == 0


def test_the_lane_tells_its_lag_and_the_public_api_has_none() -> None:
    """Each dispatch and each task that runners hand over is time away."""
    with opened("lane", react=lambda message, call: call.reply(message)) as transport:
        assert sum(transport.serving.lag.counts) == 0
        for _ in range(3):
            transport.send().result()
        # A caller may have its answer before the thread has counted what it was away for.
        until(lambda: sum(transport.serving.lag.counts) == 3)
        assert transport.serving.lag.total > 0
    with opened("grpcio") as transport:
        assert transport.serving.lag is None
