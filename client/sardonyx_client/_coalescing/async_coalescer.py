"""Request coalescing for an event loop. See batching.py for what is merged, coalescer.py for threads."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from sardonyx_client._coalescing.batching import MEMBER_ERRORS, BatchKeys, Group, merge, split
from sardonyx_client._coalescing.deadline_timer import DeadlineTimer
from sardonyx_client._errors import ClientError, DeadlineExceeded, copy_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sardonyx_client._coalescing.batching import BatchKey, CoalescableRequest
    from sardonyx_client._options import Coalesce
    from sardonyx_client._request import Request
    from sardonyx_client._values import Result

    Send = Callable[[Request, float | None], Awaitable[Result]]

__all__ = ["AsyncCoalescer"]


class _Call:
    """One waiting call. ``deadline_s`` is on the event loop's clock; infinite = no limit."""

    __slots__ = ("deadline_s", "future", "request", "timeout_s")

    def __init__(
        self, request: CoalescableRequest, future: asyncio.Future[Result], deadline_s: float, timeout_s: float | None
    ) -> None:
        self.request = request
        self.future = future
        self.deadline_s = deadline_s
        self.timeout_s = timeout_s


class AsyncCoalescer:
    """Merges calls.

    Args:
        options: Limits.
        send: (request, seconds or None) -> result: one call to the server.

    Attributes:
        batch_keys: Decides which calls this coalescer can merge.
    """

    def __init__(self, options: Coalesce, send: Send) -> None:
        self._options = options
        self._send = send
        self.batch_keys = BatchKeys(options.max_rows)
        self._groups: dict[BatchKey, Group[_Call]] = {}
        self._deadlines: DeadlineTimer[_Call] = DeadlineTimer(_time_out)
        # asyncio holds tasks only weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    async def infer(self, request: CoalescableRequest, timeout_s: float | None) -> Result:
        """Make one call as a part of a merged request.

        Raises:
            DeadlineExceeded: The deadline of this call passed; the other calls continue.
            ClientError: The request failed; if a single member may be the cause, this call also failed on its own.
        """
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        call = _Call(request, loop.create_future(), math.inf if timeout_s is None else now_s + timeout_s, timeout_s)
        group = self._groups.get(request.batch_key)
        if group is None:
            group = self._groups[request.batch_key] = Group()
        group.waiting.append(call)
        if group.in_flight < self._options.in_flight:
            self._start_task(loop, request.batch_key, group)
        self._deadlines.add(call)
        try:
            return await call.future
        finally:
            self._deadlines.remove(call)

    def _start_task(self, loop: asyncio.AbstractEventLoop, batch_key: BatchKey, group: Group[_Call]) -> None:
        """Start a task that sends the waiting calls."""
        group.in_flight += 1
        task = loop.create_task(self._send_waiting(batch_key, group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_waiting(self, batch_key: BatchKey, group: Group[_Call]) -> None:
        """Send waiting calls until there are none."""
        loop = asyncio.get_running_loop()
        calls: list[_Call] = []
        try:
            # Let all callbacks that are ready in this iteration of the loop add their calls first.
            await asyncio.sleep(0)
            while group.waiting:
                calls = [call for call in group.take(self._options.max_rows) if not call.future.done()]
                if calls:
                    await self._send_joined(calls)
        finally:
            # Calls are left only if this task was ended, for example by KeyboardInterrupt: another task continues.
            group.waiting.extendleft(call for call in reversed(calls) if not call.future.done())
            group.in_flight -= 1
            if any(not call.future.done() for call in group.waiting) and not loop.is_closed():
                self._start_task(loop, batch_key, group)
            elif not group.in_flight:
                self._groups.pop(batch_key, None)

    async def _send_joined(self, calls: list[_Call]) -> None:
        requests = [call.request for call in calls]
        try:
            result = await self._send(merge(requests), self._latest_timeout_s(calls))
            results = split(result, requests)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- passed on to the callers
            if len(calls) > 1 and isinstance(error, MEMBER_ERRORS):
                await self._send_singly(calls)
                return
            for call in calls:
                _fail(call, error)
            return
        if results is None and len(calls) > 1:
            requests[0].batch_key.unsplittable = True
            await self._send_singly(calls)
            return
        for call, own in zip(calls, results or [result], strict=True):
            if not call.future.done():
                call.future.set_result(own)

    async def _send_singly(self, calls: list[_Call]) -> None:
        for call in calls:
            if call.future.done():
                continue
            try:
                result = await self._send(merge([call.request]), self._latest_timeout_s([call]))
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- likewise
                _fail(call, error)
            else:
                (own,) = split(result, [call.request]) or [result]
                if not call.future.done():
                    call.future.set_result(own)

    def _latest_timeout_s(self, calls: list[_Call]) -> float | None:
        """Seconds until the latest deadline of the calls."""
        now_s = asyncio.get_running_loop().time()
        end_s = max(call.deadline_s for call in calls)
        return None if end_s == math.inf else max(0.0, end_s - now_s)


def _time_out(call: _Call) -> None:
    """Fail a call whose deadline has passed."""
    if not call.future.done():
        model = call.request.batch_key.request.model
        call.future.set_exception(
            DeadlineExceeded(f"ModelInfer of model {model!r} gave no answer within {call.timeout_s:g} s")
        )


def _fail(call: _Call, error: BaseException) -> None:
    if call.future.done():
        return
    if isinstance(error, ClientError):
        error = copy_of(error, request_id=call.request.request_id)
    if isinstance(error, asyncio.CancelledError):
        call.future.cancel()
    else:
        call.future.set_exception(error)
