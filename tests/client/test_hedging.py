"""A second attempt where the first is slow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_client import Hedge, InvalidArgument, Unavailable
from sardonyx_client._transport.hedging import HedgingDelays
from tests.client.servers import TinyServer, echo, refuse
from tests.client.waiting import BOUND_S

if TYPE_CHECKING:
    from collections.abc import Callable


class Slow:
    """An echo whose first call hangs until its caller gives it up."""

    def __init__(self) -> None:
        self.calls = 0
        self.given_up = threading.Event()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Answers ModelInfer."""
        self.calls += 1
        if self.calls == 1:
            context.add_callback(self.given_up.set)
            self.given_up.wait(BOUND_S)
        return echo(request, context)


def test_a_slow_call_is_made_again_and_the_loser_is_cancelled(make: Callable[..., Any]) -> None:
    """The caller gets the answer that came first."""
    slow = Slow()
    with TinyServer(ModelInfer=slow) as server, make(server.address, hedge=Hedge(first_delay_s=0.02)) as client:
        assert client.infer("m", x=[1])["x"].tolist() == [1]
        assert slow.given_up.wait(BOUND_S)
    assert slow.calls == 2


def test_a_quick_call_is_made_once(make: Callable[..., Any]) -> None:
    """Well or badly ended."""
    with TinyServer(ModelInfer=echo) as server, make(server.address, hedge=Hedge(first_delay_s=BOUND_S)) as client:
        client.infer("m", x=[1])
    assert len(server.calls) == 1
    failing = refuse(grpc.StatusCode.INVALID_ARGUMENT, "wrong")
    with (
        TinyServer(ModelInfer=failing) as server,
        make(server.address, hedge=Hedge(first_delay_s=BOUND_S)) as client,
        pytest.raises(InvalidArgument, match="wrong"),
    ):
        client.infer("m", x=[1])
    assert len(server.calls) == 1


def test_the_first_failure_waits_for_the_other_attempt(make: Callable[..., Any]) -> None:
    """Only where both fail, the caller sees it."""
    second_is_there = threading.Event()
    calls: list[int] = []

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        calls.append(len(calls))
        if calls[-1] == 0:
            second_is_there.wait(BOUND_S)
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        second_is_there.set()
        return echo(request, context)

    with TinyServer(ModelInfer=answer) as server, make(server.address, hedge=Hedge(first_delay_s=0.02)) as client:
        assert client.infer("m", x=[1])["x"].tolist() == [1]
    with (
        TinyServer(ModelInfer=refuse(grpc.StatusCode.UNAVAILABLE, "busy")) as server,
        make(server.address, retry=None, hedge=Hedge(first_delay_s=0.001)) as client,
        pytest.raises(Unavailable, match="busy"),
    ):
        client.infer("m", x=[1])


def test_calls_that_fail_teach_no_delay(make: Callable[..., Any]) -> None:
    """A server that refuses at once must not get every request twice."""
    slow = threading.Event()

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        if len(server.calls) <= 16:
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        slow.wait(0.05)  # longer than a refusal takes
        return echo(request, context)

    with (
        TinyServer(ModelInfer=answer) as server,
        make(server.address, retry=None, hedge=Hedge(first_delay_s=BOUND_S)) as client,
    ):
        for _ in range(16):
            with pytest.raises(Unavailable, match="busy"):
                client.infer("m", x=[1])
        client.infer("m", x=[1])
    assert len(server.calls) == 17


def test_the_delay_is_the_percentile_of_the_models_own_calls() -> None:
    """Until enough are known, the first delay."""
    delays = HedgingDelays(Hedge(percentile=90, first_delay_s=7.0))
    for index in range(15):
        delays.record("m", float(index))
    assert delays.delay_s("m") == 7.0
    delays.record("m", 15.0)
    assert delays.delay_s("m") == 14.0
    assert delays.delay_s("another") == 7.0


@pytest.mark.parametrize("wrong", [{"percentile": 100}, {"percentile": 10}, {"first_delay_s": 0}])
def test_options_without_sense_are_refused(wrong: dict[str, float]) -> None:
    """With what was expected."""
    with pytest.raises(InvalidArgument, match="Hedge: expected a percentile from 50 to below 100"):
        Hedge(**wrong)
