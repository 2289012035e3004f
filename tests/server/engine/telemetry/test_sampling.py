"""One request in so many of each model, by settings that are effective at once."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.engine.telemetry.sampling import UNLIMITED, NoTracing, Sampler, TraceSettings
from tests.server.engine.doubles import FakeCall
from tests.server.engine.traces import KeptTraces

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"


def sampling(*, parent_based: bool = False, **initial: Any) -> Sampler:
    """Over two models, a and b."""
    return Sampler(
        TraceSettings(**initial), sink=KeptTraces(), knows={"a", "b"}.__contains__, parent_based=parent_based
    )


def chosen(of: Sampler, model: str = "a", *, requests: int = 12, parent: str = "") -> list[int]:
    """Numbers of the requests that were chosen, from 1."""
    call = FakeCall()
    call.metadata = (("traceparent", parent),) if parent else ()
    return [number for number in range(1, requests + 1) if of.begin(model, call, b"", 5e-9, "lane") is not None]


def is_chosen(of: Sampler, model: str, call: FakeCall) -> bool:
    """As the way in asks: nothing, about a request that is passed over."""
    if not of.on or not next(of.unsampled.get(model, iter(())), True):
        return False
    return of.begin(model, call, b"", 5e-9, "lane") is not None


def test_nothing_is_on_unless_it_is_asked_for() -> None:
    """All that the way in looks at."""
    assert not NoTracing().on
    assert not sampling().on
    assert sampling(traces=True).on
    assert sampling().settings() == TraceSettings(traces=False, rate=1000, count=UNLIMITED, group=0)


def test_every_nth_request_of_each_model_is_chosen() -> None:
    """Each model has its own counter."""
    one = sampling(traces=True, rate=4)
    assert chosen(one) == [4, 8, 12]
    assert chosen(one, "b", requests=3) == []
    assert chosen(one, "b", requests=3) == [1]


def test_a_count_bounds_what_the_models_choose_together() -> None:
    """What is left of it is told."""
    one = sampling(traces=True, rate=1, count=3)
    assert chosen(one, requests=2) == [1, 2]
    assert one.settings().count == one.settings("a").count == 1
    assert chosen(one, "b", requests=5) == [1]
    assert chosen(one) == []
    assert one.settings().count == 0
    one.update({"count": 2})
    assert chosen(one) == [1, 2]


def test_a_models_own_setting_wins_over_the_servers() -> None:
    """The rest it has from the server, also when that changes."""
    one = sampling(traces=True, rate=1)
    assert one.update({"rate": 3}, "a") == TraceSettings(traces=True, rate=3)
    assert chosen(one, requests=6) == [3, 6]
    assert chosen(one, "b", requests=2) == [1, 2]
    one.update({"rate": 2, "group": 5})
    assert one.settings("a") == TraceSettings(traces=True, rate=3, group=5)
    assert one.settings("b") == TraceSettings(traces=True, rate=2, group=5)


def test_a_model_alone_can_be_traced_or_left_out() -> None:
    """The server's switch is the default of each."""
    one = sampling(rate=1)
    assert one.update({"traces": True}, "a").traces
    assert (chosen(one, requests=2), chosen(one, "b", requests=2)) == ([1, 2], [])
    assert one.on
    one.update({"traces": None}, "a")
    assert chosen(one, requests=2) == []
    one.update({"traces": True})
    one.update({"traces": False}, "b")
    assert (chosen(one, requests=2), chosen(one, "b", requests=2)) == ([1, 2], [])


def test_a_setting_that_is_cleared_is_the_servers_again_and_the_servers_that_of_the_start() -> None:
    """A count of its own is no longer counted."""
    one = sampling(traces=True, rate=2, count=100)
    one.update({"rate": 1, "count": 2}, "a")
    assert chosen(one) == [1, 2]
    assert (one.settings("a").count, one.settings().count) == (0, 100)
    assert one.update({"rate": None, "count": None}, "a") == TraceSettings(traces=True, rate=2, count=100)
    one.update({"rate": 7, "count": 5, "traces": False})
    assert one.update({"rate": None, "count": None, "traces": None}) == TraceSettings(traces=True, rate=2, count=100)


def test_an_update_that_leaves_the_rate_alone_leaves_the_counter_alone() -> None:
    """Else a server that is often asked would choose fewer."""
    one = sampling(traces=True, rate=3)
    assert chosen(one, requests=2) == []
    one.update({"group": 1})
    one.update({"rate": 9}, "b")
    assert chosen(one, requests=2) == [1]
    one.update({"rate": 2})
    assert chosen(one, requests=2) == [2]


def test_names_that_are_no_models_are_not_remembered() -> None:
    """A caller could fill the memory with them."""
    one = sampling(traces=True, rate=1)
    for number in range(50):
        assert chosen(one, f"nobody{number}", requests=1) == []
    assert chosen(one, requests=1) == [1]
    assert set(one._samplers) == {"a"}


def test_a_caller_that_keeps_its_trace_has_its_request_traced_and_one_that_does_not_has_not() -> None:
    """In place of the counter, within the count, and only where tracing is on."""
    one = sampling(parent_based=True, traces=True, rate=1000, count=5)
    assert chosen(one, requests=2, parent=PARENT + "1") == [1, 2]
    one.update({"rate": 1})
    assert chosen(one, requests=2, parent=PARENT + "0") == []
    assert chosen(one, requests=2) == [1, 2]
    assert chosen(one, requests=2, parent=PARENT + "1") == [1]
    one.update({"count": UNLIMITED, "traces": False})
    assert chosen(one, requests=2, parent=PARENT + "1") == []


def test_the_caller_has_no_say_where_its_trace_goes_nowhere() -> None:
    """A file of ours is no part of its trace; it is named there all the same."""
    one = sampling(traces=True, rate=2)
    call = FakeCall()
    call.metadata = (("traceparent", PARENT + "1"),)
    assert one.begin("a", call, b"", 5e-9, "lane") is None
    trace = one.begin("a", call, b"", 5e-9, "lane")
    assert trace is not None
    assert trace.parent is not None
    assert trace.parent.traceparent == PARENT + "1"


@pytest.mark.parametrize("limit", [UNLIMITED, 50])
def test_threads_choose_exactly_as_many_as_one(limit: int) -> None:
    """On grpcio's public API every thread takes requests in."""
    one = sampling(traces=True, rate=10, count=limit)
    together = threading.Barrier(4)

    def requests() -> int:
        together.wait()
        return len(chosen(one, requests=500))

    with ThreadPoolExecutor(4) as threads:
        total = sum(future.result() for future in [threads.submit(requests) for _ in range(4)])
    assert total == (200 if limit == UNLIMITED else 50)


_REQUESTS = st.tuples(st.sampled_from(["a", "b", "nobody"]), st.integers(1, 9), st.sampled_from(["", "0", "1"]))
_CHANGES = st.tuples(
    st.dictionaries(st.sampled_from(["rate", "count"]), st.integers(1, 4) | st.none())
    | st.fixed_dictionaries({"traces": st.booleans() | st.none()}),
    st.sampled_from(["", "a", "b"]),
)


@given(steps=st.lists(_REQUESTS | _CHANGES, max_size=30), parent_based=st.booleans(), traces=st.booleans())
def test_those_that_are_unsampled_are_those_that_would_not_be_chosen(
    steps: list[Any], parent_based: bool, traces: bool
) -> None:
    """Whatever comes in between: asked about each or not, the same requests are traced."""
    asked = sampling(parent_based=parent_based, traces=traces, rate=2)
    passing = sampling(parent_based=parent_based, traces=traces, rate=2)
    call = FakeCall()
    for step in steps:
        if isinstance(step[0], dict):
            changes, model = step
            assert asked.update(changes, model) == passing.update(changes, model)
            continue
        model, requests, sampled = step
        call.metadata = (("traceparent", PARENT + sampled),) if sampled else ()
        for _ in range(requests):
            trace = asked.begin(model, call, b"", 5e-9, "lane") if asked.on else None
            assert is_chosen(passing, model, call) == (trace is not None)


def test_threads_that_pass_requests_over_choose_exactly_as_many() -> None:
    """Of each model, although both run out of what is passed over at any time."""
    one = sampling(traces=True, rate=3)
    together = threading.Barrier(4)

    def requests() -> Counter[str]:
        call = FakeCall()
        together.wait()
        return Counter(model for model in ["a", "b"] * 3000 if is_chosen(one, model, call))

    with ThreadPoolExecutor(4) as threads:
        totals = [future.result() for future in [threads.submit(requests) for _ in range(4)]]
    assert sum(totals, Counter()) == {"a": 4000, "b": 4000}
