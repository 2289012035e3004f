"""Request coalescing for threads. See batching.py for what is merged, async_coalescer.py for event loops.

There is no background thread: one of the waiting callers is the leader. It sends the merged request and hands out the
parts of its result; then one of the calls that arrived meanwhile becomes the leader (leader_queue.py). If the leader is
interrupted, another caller sends the rest again.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sardonyx_client._coalescing.batching import MEMBER_ERRORS, BatchKeys, merge, split
from sardonyx_client._coalescing.leader_queue import Call, LeaderQueue
from sardonyx_client._errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._coalescing.batching import BatchKey, CoalescableRequest
    from sardonyx_client._options import Coalesce
    from sardonyx_client._request import Request
    from sardonyx_client._values import Result

    Send = Callable[[Request, float | None], Result]

__all__ = ["Coalescer"]


class Coalescer:
    """Merges calls. Thread-safe.

    Args:
        options: Limits.
        send: (request, seconds or None) -> result: one call to the server. Blocks.

    Attributes:
        batch_keys: Decides which calls this coalescer can merge.
    """

    def __init__(self, options: Coalesce, send: Send) -> None:
        self._options = options
        self._send = send
        self.batch_keys = BatchKeys(options.max_rows)
        self._lock = threading.Lock()
        self._groups: dict[BatchKey, LeaderQueue] = {}

    def infer(self, request: CoalescableRequest, timeout_s: float | None) -> Result:
        """Make one call as a part of a merged request. Blocks.

        Raises:
            DeadlineExceeded: The deadline of this call passed; the other calls continue.
            ClientError: The request failed; if a single member may be the cause, this call also failed on its own.
        """
        call = Call(request, None if timeout_s is None else time.monotonic() + timeout_s)
        try:
            queue = self._join(call)
            while call.outcome is None:
                if not call.wait(_remaining_s(call)) and self._time_out(queue, call):
                    break
                if call.leading is not None:
                    self._send_batch(queue, call, call.leading)
        except BaseException:
            # For example KeyboardInterrupt, at any point: no other thread may wait for this one.
            self._abandon(call)
            raise
        if call.outcome is None:
            raise DeadlineExceeded(
                f"ModelInfer of model {request.batch_key.request.model!r} gave no answer within {timeout_s:g} s"
            )
        if isinstance(call.outcome, Exception):
            raise call.outcome
        return call.outcome

    def _join(self, call: Call) -> LeaderQueue:
        """Add the call to the queue of its key."""
        batch_key = call.request.batch_key
        with self._lock:
            queue = self._groups.get(batch_key)
            if queue is None:
                queue = self._groups[batch_key] = LeaderQueue(self._options)
            queue.join(call)
        return queue

    def _time_out(self, queue: LeaderQueue, call: Call) -> bool:
        """Abandon the call; False if it completed, or became a leader, at the last moment."""
        with self._lock:
            if call.outcome is not None or call.leading is not None:
                return False
            call.abandoned = True
            if call in queue.waiting:
                queue.waiting.remove(call)
            return True

    def _send_batch(self, queue: LeaderQueue, leader: Call, calls: list[Call]) -> None:
        """Send one merged request; then the next leader may start."""
        self._send_joined([call for call in calls if not call.abandoned])
        with self._lock:
            queue.finish(leader)
            self._remove_if_idle(queue, leader)

    def _abandon(self, call: Call) -> None:
        """Remove a call in any state."""
        with self._lock:
            queue = self._groups.get(call.request.batch_key)
            if queue is not None:
                queue.abandon(call)
                self._remove_if_idle(queue, call)

    def _remove_if_idle(self, queue: LeaderQueue, call: Call) -> None:
        """Drop a queue without calls. Requires: the lock is held."""
        if queue.idle:
            self._groups.pop(call.request.batch_key, None)

    def _send_joined(self, calls: list[Call]) -> None:
        requests = [call.request for call in calls]
        try:
            result = self._send(merge(requests), _latest_timeout_s(calls))
            results = split(result, requests)
        except Exception as error:  # noqa: BLE001 -- passed on to the callers
            if len(calls) > 1 and isinstance(error, MEMBER_ERRORS):
                self._send_singly(calls)
                return
            for call in calls:
                call.complete(error)
            return
        if results is None and len(calls) > 1:
            requests[0].batch_key.unsplittable = True
            self._send_singly(calls)
            return
        for call, own in zip(calls, results or [result], strict=True):
            call.complete(own)

    def _send_singly(self, calls: list[Call]) -> None:
        for call in calls:
            try:
                result = self._send(merge([call.request]), _remaining_s(call))
            except Exception as error:  # noqa: BLE001 -- likewise
                call.complete(error)
            else:
                (own,) = split(result, [call.request]) or [result]
                call.complete(own)


def _remaining_s(call: Call) -> float | None:
    return None if call.deadline_s is None else max(0.0, call.deadline_s - time.monotonic())


def _latest_timeout_s(calls: list[Call]) -> float | None:
    """Seconds until the latest deadline of the calls."""
    left = [_remaining_s(call) for call in calls]
    return None if None in left else max(each for each in left if each is not None)
