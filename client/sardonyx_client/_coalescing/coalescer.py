"""Joins concurrent calls of threads. See rules.py for what joins, async_coalescer.py for the twin of event loops.

No thread of its own: of the callers that wait, one leads. It sends the joined request and hands out the parts; then
one of those that came meanwhile leads. Where the leader is interrupted (Ctrl-C), another sends the rest once more.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from sardonyx_client._coalescing.rules import BLAMED_ON_ONE, Forms, Group, cut, join
from sardonyx_client._errors import ClientError, DeadlineExceeded, copy_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._coalescing.rules import Form, Joinable
    from sardonyx_client._options import Coalesce
    from sardonyx_client._request import Request
    from sardonyx_client._values import Result

    Send = Callable[[Request, float | None], Result]

__all__ = ["Coalescer"]


class _Call:
    """One caller, which sleeps until it is answered or told to lead.

    Attributes:
        leads: The calls that it shall send together, itself among them; None where it does not lead.
        gone: It gave up, or was interrupted.
    """

    __slots__ = ("answer", "asks", "gives_up_s", "gone", "leads", "woken")

    def __init__(self, asks: Joinable, gives_up_s: float | None) -> None:
        self.asks = asks
        self.gives_up_s = gives_up_s
        self.woken = threading.Event()
        self.leads: list[_Call] | None = None
        self.gone = False
        self.answer: Result | Exception | None = None

    def finish(self, answer: Result | Exception) -> None:
        """Give it its part."""
        if isinstance(answer, ClientError):
            answer = copy_of(answer, request_id=self.asks.request_id)
        self.answer = answer
        self.woken.set()


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
        self._groups: dict[Form, Group[_Call]] = {}

    def infer(self, asks: Joinable, timeout_s: float | None) -> Result:
        """One caller's part of a joined request. Blocks.

        Raises:
            DeadlineExceeded: This caller's time was over; the others' go on.
            ClientError: The request failed, and failed for this caller alone too where a member may be to blame.
        """
        call = _Call(asks, None if timeout_s is None else time.monotonic() + timeout_s)
        try:
            group = self._join(call)
            while call.answer is None:
                if not call.woken.wait(_left_s(call)) and self._leave(group, call):
                    break
                if call.leads is not None:
                    self._lead(group, call, call.leads)
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

    def _join(self, call: _Call) -> Group[_Call]:
        """Have it wait, or lead where nothing is under way."""
        form = call.asks.form
        with self._lock:
            group = self._groups.get(form)
            if group is None:
                group = self._groups[form] = Group()
            group.waiting.append(call)
            if group.in_flight < self._options.in_flight:
                group.in_flight += 1
                self._appoint(group)
        return group

    def _leave(self, group: Group[_Call], call: _Call) -> bool:
        """Give up waiting; False where the answer, or the lead, has come at the last moment."""
        with self._lock:
            if call.woken.is_set():
                return False
            call.gone = True
            if call in group.waiting:
                group.waiting.remove(call)
            return True

    def _appoint(self, group: Group[_Call]) -> None:
        """Have one of those that wait lead the next request. Has the lock. Requires: some wait."""
        calls = group.take(self._options.max_rows)
        # The one with the most time: who leads is held up for as long as any of them waits.
        leader = max(calls, key=lambda call: math.inf if call.gives_up_s is None else call.gives_up_s)
        leader.leads = calls
        leader.woken.set()

    def _lead(self, group: Group[_Call], leader: _Call, calls: list[_Call]) -> None:
        """Send one joined request, the leader's among it; then the next in line leads."""
        leader.woken.clear()
        self._send_joined([call for call in calls if not call.gone])
        with self._lock:
            leader.leads = None
            self._next(group, leader.asks.form)

    def _abandon(self, call: _Call) -> None:
        """Leave, whatever this call was at; those it led and that have no answer are the first of the next request."""
        with self._lock:
            call.gone = True
            group = self._groups.get(call.asks.form)
            if group is None:
                return
            if call in group.waiting:
                group.waiting.remove(call)
            led, call.leads = call.leads, None
            if led is not None:
                group.waiting.extendleft(each for each in reversed(led) if each.answer is None and not each.gone)
                self._next(group, call.asks.form)

    def _next(self, group: Group[_Call], form: Form) -> None:
        """A request has ended: have one of those that wait lead the next. Has the lock."""
        if group.waiting:
            self._appoint(group)
            return
        group.in_flight -= 1
        if not group.in_flight:
            self._groups.pop(form, None)

    def _send_joined(self, calls: list[_Call]) -> None:
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

    def _send_singly(self, calls: list[_Call]) -> None:
        for call in calls:
            try:
                result = self._send(join([call.asks]), _left_s(call))
            except Exception as error:  # noqa: BLE001 -- likewise
                call.finish(error)
            else:
                (own,) = cut(result, [call.asks]) or [result]
                call.finish(own)


def _left_s(call: _Call) -> float | None:
    return None if call.gives_up_s is None else max(0.0, call.gives_up_s - time.monotonic())


def _latest_s(calls: list[_Call]) -> float | None:
    """Seconds until the last of the callers gives up."""
    left = [_left_s(call) for call in calls]
    return None if None in left else max(each for each in left if each is not None)
