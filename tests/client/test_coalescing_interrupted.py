"""A caller that sends for others and is interrupted, as by Ctrl-C: the others get their answers all the same."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from sardonyx_client import Coalesce, InvalidArgument, Result
from sardonyx_client._coalescing.async_coalescer import AsyncCoalescer
from sardonyx_client._coalescing.coalescer import Coalescer
from sardonyx_client._request import Request
from tests.client.waiting import BOUND_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from sardonyx_client._coalescing.batching import BatchKeys, CoalescableRequest


def ask(batch_keys: BatchKeys, number: int) -> CoalescableRequest:
    """One row."""
    asks = batch_keys.coalescable(Request("m", {"x": np.array([[number]])}))
    assert asks is not None
    return asks


def answer(inputs: Mapping[str, Any]) -> Result:
    """What came, as it came."""
    outputs = MappingProxyType(dict(inputs))
    return Result(model_name="m", model_version="1", request_id="", outputs=outputs, parameters={})


def numbers(inputs: Mapping[str, Any]) -> list[int]:
    """Of the rows of a request."""
    return [int(number) for number in inputs["x"].ravel()]


class Threads:
    """A coalescer whose requests are numbered; what each of them does is the test's. All calls come from threads."""

    def __init__(self, *requests: Callable[[Mapping[str, Any]], Result]) -> None:
        self.sent: list[list[int]] = []
        self._requests = requests
        self._coalescer = Coalescer(Coalesce(), self._send)
        self._threads = ThreadPoolExecutor(4)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def _send(self, request: Request, _timeout_s: float | None) -> Result:
        self.sent.append(numbers(request.inputs))
        return self._requests[len(self.sent) - 1](request.inputs)

    def infer(self, number: int) -> int:
        """One call, from this thread."""
        return numbers({"x": self._coalescer.infer(ask(self._coalescer.batch_keys, number), None)["x"]})[0]

    def begin(self, number: int) -> Future[int]:
        """One call, from another thread."""
        return self._threads.submit(self.infer, number)

    def waits(self, count: int) -> None:
        """Return when so many wait for the next request."""
        until(lambda: sum(len(group.waiting) for group in self._coalescer._groups.values()) == count)

    @property
    def idle(self) -> bool:
        """Whether nothing is left behind."""
        return not self._coalescer._groups


def interrupt(_inputs: Mapping[str, Any]) -> Result:
    """What Ctrl-C does to the thread that sends."""
    raise KeyboardInterrupt


def test_what_an_interrupted_caller_sent_for_others_is_sent_by_one_of_them() -> None:
    """The interrupted one alone fails, with what interrupted it."""
    opened = threading.Event()

    def hold(inputs: Mapping[str, Any]) -> Result:
        assert opened.wait(BOUND_S)
        return answer(inputs)

    with Threads(hold, interrupt, answer) as threads:
        first = threads.begin(0)
        until(lambda: len(threads.sent) == 1)
        others = []
        for number in (1, 2, 3):
            others.append(threads.begin(number))
            threads.waits(number)
        opened.set()
        assert first.result(BOUND_S) == 0
        failed = [other for other in others if other.exception(BOUND_S) is not None]
        assert [type(other.exception()) for other in failed] == [KeyboardInterrupt]
        gone = others.index(failed[0]) + 1
        assert [other.result() for other in others if other is not failed[0]] == [n for n in (1, 2, 3) if n != gone]
        assert threads.sent == [[0], [1, 2, 3], [n for n in (1, 2, 3) if n != gone]]
        assert threads.idle


def test_what_was_answered_before_the_interruption_is_not_sent_again() -> None:
    """It may have gone long ago, and would not lead the next request."""
    opened = threading.Event()

    def hold(inputs: Mapping[str, Any]) -> Result:
        assert opened.wait(BOUND_S)
        return answer(inputs)

    def refuse(_inputs: Mapping[str, Any]) -> Result:
        # One of them may be to blame, so they are sent singly.
        raise InvalidArgument("one is bad")

    with Threads(hold, refuse, answer, answer, interrupt, answer) as threads:
        first = threads.begin(0)
        until(lambda: len(threads.sent) == 1)
        others = []
        for number in (1, 2, 3):
            others.append(threads.begin(number))
            threads.waits(number)
        opened.set()
        assert first.result(BOUND_S) == 0
        with pytest.raises(KeyboardInterrupt):
            others[0].result(BOUND_S)
        assert [other.result(BOUND_S) for other in others[1:]] == [2, 3]
        assert threads.sent == [[0], [1, 2, 3], [1], [2], [3], [3]]
        assert threads.idle


def test_a_lone_caller_that_is_interrupted_leaves_nothing_behind() -> None:
    """The next call of its kind leads itself."""
    with Threads(interrupt, answer) as threads:
        with pytest.raises(KeyboardInterrupt):
            threads.infer(1)
        assert threads.idle
        assert threads.infer(2) == 2


@pytest.mark.parametrize("appointed", [False, True], ids=["waits", "is to lead"])
def test_a_caller_that_is_interrupted_while_it_waits_is_not_waited_for(appointed: bool) -> None:
    """Neither where its turn would come later, nor where it has just been told to lead."""
    opened, interrupted = threading.Event(), threading.Event()

    def hold(inputs: Mapping[str, Any]) -> Result:
        assert opened.wait(BOUND_S)
        return answer(inputs)

    def on_signal(*_: object) -> None:
        if appointed:
            # The first request ends now, and this thread, which has waited the longest, is told to lead the next.
            opened.set()
            threads.waits(0)
        raise KeyboardInterrupt

    def press(threads: Threads) -> None:
        threads.waits(2)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        assert interrupted.wait(BOUND_S)
        opened.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        with Threads(hold, answer) as threads, ThreadPoolExecutor(2) as others:
            first = threads.begin(0)
            until(lambda: len(threads.sent) == 1)

            def follow() -> int:
                threads.waits(1)
                return threads.infer(2)

            last = others.submit(follow)
            pressed = others.submit(press, threads)
            with pytest.raises(KeyboardInterrupt):
                threads.infer(1)
            interrupted.set()
            pressed.result(BOUND_S)
            assert (first.result(BOUND_S), last.result(BOUND_S)) == (0, 2)
            assert threads.sent == [[0], [2]]
            assert threads.idle
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_event_loop_that_is_interrupted_goes_on_with_the_calls_it_had() -> None:
    """As a notebook does: it runs the loop again."""
    sent: list[list[int]] = []

    async def send(request: Request, _timeout_s: float | None) -> Result:
        await asyncio.sleep(0)
        sent.append(numbers(request.inputs))
        if len(sent) == 1:
            raise KeyboardInterrupt
        return answer(request.inputs)

    coalescer = AsyncCoalescer(Coalesce(), send)

    async def infer(number: int) -> int:
        return numbers({"x": (await coalescer.infer(ask(coalescer.batch_keys, number), None))["x"]})[0]

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        calls = [loop.create_task(infer(number)) for number in (1, 2)]
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(asyncio.wait(calls))
        assert not any(call.done() for call in calls)
        assert loop.run_until_complete(asyncio.gather(*calls)) == [1, 2]
        assert sent == [[1, 2], [1, 2]]
        assert not coalescer._groups
