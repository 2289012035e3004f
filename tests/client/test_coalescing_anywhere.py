"""Ctrl-C at each moment of joining, leading and handing over: those that wait without a limit of time get answers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

import sardonyx_client._coalescing as coalescing
from sardonyx_client import Coalesce, Result
from sardonyx_client._coalescing.coalescer import Coalescer
from sardonyx_client._request import Request
from tests.client.interruption import Interruption
from tests.client.waiting import BOUND_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

PACKAGE: Final = coalescing.__path__[0]
# What is sent and cut knows no other thread.
OTHERS: Final = "batching.py"
VICTIM: Final = 7


def is_inside(filename: str) -> bool:
    """Whether a caller is among others there."""
    return filename.startswith(PACKAGE) and not filename.endswith(OTHERS)


class Company:
    """Calls of one form from threads, one of which is interrupted at a place; each request answers what it was asked.

    Args:
        threads: Of the calls.
        place: Of the interruption.
    """

    def __init__(self, threads: ThreadPoolExecutor, place: int) -> None:
        self._threads = threads
        self._coalescer = Coalescer(Coalesce(), self._send)
        self._interruption = Interruption(place, is_inside)
        self.sent: list[list[int]] = []
        # The first request is answered once this is set.
        self.opened = threading.Event()

    def _send(self, request: Request, _timeout_s: float | None) -> Result:
        inputs: Mapping[str, Any] = request.inputs
        self.sent.append([int(number) for number in inputs["x"].ravel()])
        if len(self.sent) == 1:
            assert self.opened.wait(BOUND_S)
        outputs = MappingProxyType(dict(inputs))
        return Result(model_name="m", model_version="1", request_id="", outputs=outputs, parameters={})

    def _infer(self, number: int) -> int:
        batch_keys = self._coalescer.batch_keys
        asks = batch_keys.coalescable(Request("m", {"x": np.array([[number]])}))
        assert asks is not None
        return int(self._coalescer.infer(asks, None)["x"][0, 0])

    def begin(self, number: int) -> Future[int]:
        """A call that nobody interrupts; returns once it is sent or waits."""
        before = self.waiting + len(self.sent)
        call = self._threads.submit(self._infer, number)
        until(lambda: self.waiting + len(self.sent) > before or call.done())
        return call

    def begin_victim(self) -> Future[object]:
        """The call that is interrupted; returns once it is sent, waits, or is over."""
        before = self.waiting + len(self.sent)
        call = self._threads.submit(self._interruption.run, lambda: self._infer(VICTIM))
        until(lambda: self.waiting + len(self.sent) > before or call.done())
        return call

    @property
    def waiting(self) -> int:
        """Calls that wait for the next request."""
        return sum(len(group.waiting) for group in self._coalescer._groups.values())

    def end(self, victim: Future[object], others: Mapping[int, Future[int]]) -> bool:
        """Open the first request: the others get their answers, the victim its own or the interrupt.

        Returns:
            Whether it was interrupted anywhere.
        """
        self.opened.set()
        assert {number: call.result(BOUND_S / 10) for number, call in others.items()} == {n: n for n in others}
        error = victim.exception(BOUND_S / 10)
        assert victim.result() == VICTIM if error is None else isinstance(error, KeyboardInterrupt)
        assert not self._coalescer._groups
        return self._interruption.came


def leads(company: Company) -> bool:
    """It sends alone; two others wait meanwhile, and one of them is to lead next."""
    victim = company.begin_victim()
    return company.end(victim, {number: company.begin(number) for number in (1, 2)})


def is_told_to_lead(company: Company) -> bool:
    """Another sends; it has waited the longest, and is to send for two others and itself."""
    first = company.begin(0)
    victim = company.begin_victim()
    return company.end(victim, {0: first, **{number: company.begin(number) for number in (1, 2)}})


def follows(company: Company) -> bool:
    """Another sends, and a second one for it as well."""
    first, second = company.begin(0), company.begin(1)
    victim = company.begin_victim()
    return company.end(victim, {0: first, 1: second, 2: company.begin(2)})


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """That end with the test, if they can."""
    executor = ThreadPoolExecutor(4)
    yield executor
    executor.shutdown(wait=False)


@pytest.mark.parametrize("part", [leads, is_told_to_lead, follows])
def test_an_interrupt_at_any_moment_leaves_nobody_waiting(
    part: Callable[[Company], bool], threads: ThreadPoolExecutor
) -> None:
    """And nothing behind: the next call of the kind begins anew."""
    place = 0
    while part(Company(threads, place)):
        place += 1
    assert place > 10
