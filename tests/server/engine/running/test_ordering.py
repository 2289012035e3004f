"""Answers in the order of the requests."""

from __future__ import annotations

import itertools

import pytest

from sardonyx_server.engine.call import InterceptedCall
from sardonyx_server.engine.running.ordering import ReorderBuffer
from sardonyx_server.errors import ExecutionFailed
from sardonyx_wire.protobuf_fields import EncodedMessage
from tests.server.engine.doubles import FakeCall


class Recorder(FakeCall):
    """A call that notes when it is answered."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__(deadline_s=4.0)
        self._name = name
        self._log = log

    def reply(self, message: EncodedMessage) -> None:
        """Note it."""
        super().reply(message)
        self._log.append(self._name)

    def fail(self, error: Exception) -> None:
        """Note it."""
        super().fail(error)
        self._log.append(f"{self._name}!")


def three() -> tuple[list[InterceptedCall], list[str]]:
    """Calls a, b and c in this order, and the log of their answers."""
    order, log = ReorderBuffer(), list[str]()
    return [InterceptedCall(Recorder(name, log), order.reserve()) for name in "abc"], log


@pytest.mark.parametrize("finished", list(itertools.permutations(range(3))))
def test_answers_leave_in_the_order_of_the_requests(finished: tuple[int, ...]) -> None:
    """Whoever is done first."""
    calls, log = three()
    for index in finished:
        calls[index].reply(b"answer")
    assert log == ["a", "b", "c"]


def test_an_answer_leaves_as_soon_as_all_before_it_have() -> None:
    """And not later."""
    (a, b, c), log = three()
    a.reply(b"")
    assert log == ["a"]
    c.reply(b"")
    assert log == ["a"]
    b.fail(ExecutionFailed("no"))
    assert log == ["a", "b!", "c"]


def test_a_call_that_was_not_admitted_holds_up_nobody() -> None:
    """Also where the answer of a later one has come in the meantime."""
    order, log = ReorderBuffer(), list[str]()
    refused, admitted = order.reserve(), order.reserve()
    InterceptedCall(Recorder("b", log), admitted).reply(b"")
    assert not log
    order.cancel(refused)
    assert log == ["b"]


def test_an_answer_is_what_was_given() -> None:
    """Bytes as they are, errors as they are."""
    order, error = ReorderBuffer(), ExecutionFailed("no")
    good, bad = FakeCall(), FakeCall()
    order.reserve().reply(good, b"bytes")
    order.reserve().fail(bad, error)
    assert (good.replies, bad.errors) == ([b"bytes"], [error])
