"""Joins concurrent calls of threads. See rules.py for what joins, async_coalescer.py for the twin of event loops.

No thread of its own: of the callers that wait, one leads. It sends the joined request and hands out the parts; then
one of those that came meanwhile leads (turns.py). Where the leader is interrupted, another sends the rest once more.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sardonyx_client._coalescing.rules import BLAMED_ON_ONE, Forms, cut, join
from sardonyx_client._coalescing.turns import Call, Turns
from sardonyx_client._errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._coalescing.rules import Form, Joinable
    from sardonyx_client._options import Coalesce
    from sardonyx_client._request import Request
    from sardonyx_client._values import Result

    Send = Callable[[Request, float | None], Result]

__all__ = ["Coalescer"]


class Coalescer:
    """Sends calls together. Thread-safe.

    Args:
        options: How many.
        send: (request, seconds or None) -> result: one call to the server. Blocks.

    Attributes:
        forms: Of the calls it takes.
    """

    def __init__(self, options: Coalesce, send: Send) -> None:
        self._options = options
        self._send = send
        self.forms = Forms(options.max_rows)
        self._lock = threading.Lock()
        self._groups: dict[Form, Turns] = {}

    def infer(self, asks: Joinable, timeout_s: float | None) -> Result:
        """One caller's part of a joined request. Blocks.

        Raises:
            DeadlineExceeded: This caller's time was over; the others' go on.
            ClientError: The request failed, and failed for this caller alone too where a member may be to blame.
        """
        call = Call(asks, None if timeout_s is None else time.monotonic() + timeout_s)
        try:
            turns = self._join(call)
            while call.answer is None:
                if not call.sleep(_left_s(call)) and self._give_up(turns, call):
                    break
                if call.leads is not None:
                    self._lead(turns, call, call.leads)
        except BaseException:
            # Such as a keyboard interrupt, which may have come at any moment: nobody may wait for this thread.
            self._abandon(call)
            raise
        if call.answer is None:
            raise DeadlineExceeded(
                f"ModelInfer of model {asks.form.request.model!r} gave no answer within {timeout_s:g} s"
            )
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def _join(self, call: Call) -> Turns:
        """Have it wait, or lead where nothing is under way."""
        form = call.asks.form
        with self._lock:
            turns = self._groups.get(form)
            if turns is None:
                turns = self._groups[form] = Turns(self._options)
            turns.join(call)
        return turns

    def _give_up(self, turns: Turns, call: Call) -> bool:
        """Wait no longer; False where the answer, or the lead, has come at the last moment."""
        with self._lock:
            if call.answer is not None or call.leads is not None:
                return False
            call.gone = True
            if call in turns.waiting:
                turns.waiting.remove(call)
            return True

    def _lead(self, turns: Turns, leader: Call, calls: list[Call]) -> None:
        """Send one joined request, the leader's among it; then the next in line leads."""
        self._send_joined([call for call in calls if not call.gone])
        with self._lock:
            turns.next(leader)
            self._see_over(turns, leader)

    def _abandon(self, call: Call) -> None:
        """Leave, whatever this call was at."""
        with self._lock:
            turns = self._groups.get(call.asks.form)
            if turns is not None:
                turns.leave(call)
                self._see_over(turns, call)

    def _see_over(self, turns: Turns, call: Call) -> None:
        """Forget a form of which nobody asks. Has the lock."""
        if turns.over:
            self._groups.pop(call.asks.form, None)

    def _send_joined(self, calls: list[Call]) -> None:
        asks = [call.asks for call in calls]
        try:
            result = self._send(join(asks), _latest_s(calls))
            results = cut(result, asks)
        except Exception as error:  # noqa: BLE001 -- it belongs to the callers
            if len(calls) > 1 and isinstance(error, BLAMED_ON_ONE):
                self._send_singly(calls)
                return
            for call in calls:
                call.finish(error)
            return
        if results is None and len(calls) > 1:
            asks[0].form.alone = True
            self._send_singly(calls)
            return
        for call, own in zip(calls, results or [result], strict=True):
            call.finish(own)

    def _send_singly(self, calls: list[Call]) -> None:
        for call in calls:
            try:
                result = self._send(join([call.asks]), _left_s(call))
            except Exception as error:  # noqa: BLE001 -- likewise
                call.finish(error)
            else:
                (own,) = cut(result, [call.asks]) or [result]
                call.finish(own)


def _left_s(call: Call) -> float | None:
    return None if call.gives_up_s is None else max(0.0, call.gives_up_s - time.monotonic())


def _latest_s(calls: list[Call]) -> float | None:
    """Seconds until the last of the callers gives up."""
    left = [_left_s(call) for call in calls]
    return None if None in left else max(each for each in left if each is not None)
