"""Joins concurrent calls of an event loop. See rules.py for what joins, coalescer.py for the twin of threads."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from sardonyx_client._coalescing.patience import Patience
from sardonyx_client._coalescing.rules import BLAMED_ON_ONE, Forms, Group, cut, join
from sardonyx_client._errors import ClientError, DeadlineExceeded, copy_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sardonyx_client._coalescing.rules import Form, Joinable
    from sardonyx_client._options import Coalesce
    from sardonyx_client._request import Request
    from sardonyx_client._values import Result

    Send = Callable[[Request, float | None], Awaitable[Result]]

__all__ = ["AsyncCoalescer"]


class _Call:
    """One caller. ``gives_up_s`` is infinite where it waits for ever."""

    __slots__ = ("answer", "asks", "gives_up_s", "timeout_s")

    def __init__(
        self, asks: Joinable, answer: asyncio.Future[Result], gives_up_s: float, timeout_s: float | None
    ) -> None:
        self.asks = asks
        self.answer = answer
        self.gives_up_s = gives_up_s
        self.timeout_s = timeout_s


class AsyncCoalescer:
    """Sends calls together.

    Args:
        options: How many.
        send: (request, seconds or None) -> result: one call to the server.

    Attributes:
        forms: Of the calls it takes.
    """

    def __init__(self, options: Coalesce, send: Send) -> None:
        self._options = options
        self._send = send
        self.forms = Forms(options.max_rows)
        self._groups: dict[Form, Group[_Call]] = {}
        self._patience: Patience[_Call] = Patience(_give_up)
        # A task nobody holds may be collected.
        self._tasks: set[asyncio.Task[None]] = set()

    async def infer(self, asks: Joinable, timeout_s: float | None) -> Result:
        """One caller's part of a joined request.

        Raises:
            DeadlineExceeded: This caller's time was over; the others' go on.
            ClientError: The request failed, and failed for this caller alone too where a member may be to blame.
        """
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        call = _Call(asks, loop.create_future(), math.inf if timeout_s is None else now_s + timeout_s, timeout_s)
        group = self._groups.get(asks.form)
        if group is None:
            group = self._groups[asks.form] = Group()
        group.waiting.append(call)
        if group.in_flight < self._options.in_flight:
            self._begin(loop, asks.form, group)
        self._patience.begin(call)
        try:
            return await call.answer
        finally:
            self._patience.end(call)

    def _begin(self, loop: asyncio.AbstractEventLoop, form: Form, group: Group[_Call]) -> None:
        """Have a task send what waits."""
        group.in_flight += 1
        task = loop.create_task(self._work(form, group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, form: Form, group: Group[_Call]) -> None:
        """Send what waits until nothing does."""
        loop = asyncio.get_running_loop()
        calls: list[_Call] = []
        try:
            # All that the loop has ready in this turn comes along.
            await asyncio.sleep(0)
            while group.waiting:
                calls = [call for call in group.take(self._options.max_rows) if not call.answer.done()]
                if calls:
                    await self._send_joined(calls)
        finally:
            # Some are left only where this task is ended, such as by a keyboard interrupt in it: another goes on.
            group.waiting.extendleft(call for call in reversed(calls) if not call.answer.done())
            group.in_flight -= 1
            if any(not call.answer.done() for call in group.waiting) and not loop.is_closed():
                self._begin(loop, form, group)
            elif not group.in_flight:
                self._groups.pop(form, None)

    async def _send_joined(self, calls: list[_Call]) -> None:
        asks = [call.asks for call in calls]
        try:
            result = await self._send(join(asks), self._latest(calls))
            results = cut(result, asks)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- it belongs to the callers
            if len(calls) > 1 and isinstance(error, BLAMED_ON_ONE):
                await self._send_singly(calls)
                return
            for call in calls:
                _fail(call, error)
            return
        if results is None and len(calls) > 1:
            asks[0].form.alone = True
            await self._send_singly(calls)
            return
        for call, own in zip(calls, results or [result], strict=True):
            if not call.answer.done():
                call.answer.set_result(own)

    async def _send_singly(self, calls: list[_Call]) -> None:
        for call in calls:
            if call.answer.done():
                continue
            try:
                result = await self._send(join([call.asks]), self._latest([call]))
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- likewise
                _fail(call, error)
            else:
                (own,) = cut(result, [call.asks]) or [result]
                if not call.answer.done():
                    call.answer.set_result(own)

    def _latest(self, calls: list[_Call]) -> float | None:
        """Seconds until the last of the callers gives up."""
        now_s = asyncio.get_running_loop().time()
        end_s = max(call.gives_up_s for call in calls)
        return None if end_s == math.inf else max(0.0, end_s - now_s)


def _give_up(call: _Call) -> None:
    """This caller's time is over."""
    if not call.answer.done():
        model = call.asks.form.request.model
        call.answer.set_exception(
            DeadlineExceeded(f"ModelInfer of model {model!r} gave no answer within {call.timeout_s:g} s")
        )


def _fail(call: _Call, error: BaseException) -> None:
    if call.answer.done():
        return
    if isinstance(error, ClientError):
        error = copy_of(error, request_id=call.asks.request_id)
    if isinstance(error, asyncio.CancelledError):
        call.answer.cancel()
    else:
        call.answer.set_exception(error)
