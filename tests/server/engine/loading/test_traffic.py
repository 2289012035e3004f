"""Models that answer while another one is loaded are noticed."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.loading.traffic import TrafficMonitor
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.response_cache.cache import ResponseCache
from sardonyx_server.engine.running.model import Model
from tests.server.engine.doubles import FakeCall, HandClock, doubling, message, model_of, publish


def ask(model: Model, times: int) -> None:
    """The same request, again and again."""
    registry = Registry()
    publish(registry, model)
    intake = Intake(registry)
    for _ in range(times):
        intake.accept(message({"x": np.ones((1, 2), np.float32)}).SerializeToString(), FakeCall())
        intake.run_waiting()


@pytest.mark.parametrize(("requests", "busy"), [(0, False), (20, False), (21, True)])
def test_more_than_ten_requests_a_second_are_traffic(requests: int, busy: bool) -> None:
    """Fewer are a monitor that tries a model now and then."""
    clock, model = HandClock(), model_of(doubling())
    traffic = TrafficMonitor(clock)
    traffic.add(model)
    ask(model, 50)
    is_busy = traffic.start()
    ask(model, requests)
    clock.now_s += 2.0
    assert is_busy() is busy


def test_answers_of_the_cache_are_traffic() -> None:
    """They too need a core."""
    clock, model = HandClock(), model_of(doubling(), response_cache=ResponseCache(10**6))
    traffic = TrafficMonitor(clock)
    traffic.add(model)
    ask(model, 1)
    is_busy = traffic.start()
    ask(model, 30)
    clock.now_s += 1.0
    assert sum(counters.cache_hits for counters in model.counters) == 30
    assert is_busy()


def test_models_are_not_kept_in_memory_for_this() -> None:
    """Their sessions hold weights."""
    traffic, model = TrafficMonitor(HandClock()), model_of(doubling())
    traffic.add(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert not traffic.start()()
