"""Messages that do not come: which calls are ended, and when."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    pytest.skip("the lane needs Linux", allow_module_level=True)

from sardonyx_server.errors import DeadlineExceeded, InvalidRequest, ShuttingDown
from sardonyx_server.rpc.lane.messages.receive_timeouts import RECEIVE_TIMEOUT_S, ReceiveTimeouts

if TYPE_CHECKING:
    from sardonyx_server.errors import ServerError
    from sardonyx_server.rpc.lane.messages.receive_timeouts import Receiving


@dataclass(slots=True, eq=False)
class AwaitedCall:
    """A call whose message has not come whole; ``receive_buffer`` is None where nobody knows how much is missing."""

    receive_buffer: memoryview | None = None
    deadline_s: float = math.inf

    def refuse(self, error: ServerError) -> None:
        """Never: that is for who looks."""


def ended(
    stalled: ReceiveTimeouts, calls: list[AwaitedCall], now_s: float, *, stopping: bool = False
) -> list[tuple[Receiving, type[Exception]]]:
    """Which calls are ended at a look, and how."""
    return [(call, type(error)) for call, error in stalled.late(calls, now_s, stopping=stopping)]


def test_a_call_of_which_nothing_comes_for_a_minute_is_ended() -> None:
    """From the first look on, and once."""
    stalled, call, other = ReceiveTimeouts(), AwaitedCall(), AwaitedCall()
    assert ended(stalled, [call], 100.0) == []
    assert ended(stalled, [call, other], 99.0 + RECEIVE_TIMEOUT_S) == []
    assert ended(stalled, [call, other], 100.0 + RECEIVE_TIMEOUT_S) == [(call, InvalidRequest)]
    assert ended(stalled, [other], 101.0 + RECEIVE_TIMEOUT_S) == []


def test_a_message_that_comes_slowly_is_waited_for() -> None:
    """Its minute begins again with each byte."""
    stalled, call = ReceiveTimeouts(), AwaitedCall(memoryview(bytes(3)))
    for seconds, missing in ((0.0, 3), (59.0, 2), (118.0, 1), (177.0, 1)):
        call.receive_buffer = memoryview(bytes(missing))
        assert ended(stalled, [call], seconds) == []
    assert ended(stalled, [call], 178.0) == [(call, InvalidRequest)]


def test_a_deadline_ends_a_call_at_once() -> None:
    """However much of its message has come since the last look."""
    stalled, call = ReceiveTimeouts(), AwaitedCall(memoryview(bytes(3)), deadline_s=5.0)
    assert ended(stalled, [call], 4.9) == []
    call.receive_buffer = memoryview(bytes(1))
    assert ended(stalled, [call], 5.0) == [(call, DeadlineExceeded)]


def test_once_the_server_stops_a_second_without_anything_is_enough() -> None:
    """Also one that had begun before; a message that goes on coming is waited for."""
    stalled, call, coming = ReceiveTimeouts(), AwaitedCall(), AwaitedCall(memoryview(bytes(3)))
    assert ended(stalled, [call, coming], 10.0) == []
    coming.receive_buffer = memoryview(bytes(2))
    assert ended(stalled, [call, coming], 11.0, stopping=True) == [(call, ShuttingDown)]
    assert ended(stalled, [coming], 11.9, stopping=True) == []
    assert ended(stalled, [coming], 12.0, stopping=True) == [(coming, ShuttingDown)]


def test_what_has_come_is_forgotten() -> None:
    """Nobody has to look again."""
    stalled, call = ReceiveTimeouts(), AwaitedCall()
    stalled.late([call], 0.0)
    assert stalled.may_be(unary=0, unfinished_bytes=0)
    assert ended(stalled, [], 1.0) == []
    assert not stalled.may_be(unary=0, unfinished_bytes=0)
    assert ended(stalled, [call], 1.0 + RECEIVE_TIMEOUT_S) == []


def test_a_message_of_a_stream_that_began_since_the_last_look_is_looked_for() -> None:
    """Nothing else may ever come, and streams that are idle need no look."""
    stalled = ReceiveTimeouts()
    assert not stalled.may_be(unary=0, unfinished_bytes=0)
    assert stalled.may_be(unary=0, unfinished_bytes=1)
    assert stalled.may_be(unary=1, unfinished_bytes=0)
