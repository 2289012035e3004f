"""Requests under way in one sending process: sent, waiting for a connection, answered, failed, given up. Has no clock.

Which request is sent when is sender.py's part.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from sardonyx_client._lane.failure import LaneFailure, deadline_exceeded
from sardonyx_client._lane.request import RequestBlocks
from sardonyx_server.load.tally import WRONG_ANSWER

if TYPE_CHECKING:
    from sardonyx_client._lane.stream import Stream
    from sardonyx_server.load.lines import GrpcLines
    from sardonyx_server.load.loops import Target
    from sardonyx_server.load.polled_line import PolledLine
    from sardonyx_server.load.tally import Tally

__all__ = ["GrpcCalls"]

_NS_PER_S: Final = 1_000_000_000


class GrpcCalls:
    """Of one target over one process's connections. Not thread-safe.

    Args:
        target: What is sent.
        authority: Of the server.
        lines: What it is sent over.
        first: Number of the message that is sent first.
        tally: See the attribute.

    Attributes:
        tally: Where calls are counted when they end.
        freed: The callers whose calls have ended, until somebody takes them; None = nobody wants to know.
    """

    def __init__(self, target: Target, authority: str, lines: GrpcLines, *, first: int, tally: Tally) -> None:
        self.tally = tally
        self.freed: list[int] | None = None
        self._timeout_ns = round(target.timeout_s * _NS_PER_S)
        self._answer_bytes = target.answer_bytes
        self._blocks = RequestBlocks(authority, target.method)
        self._block = self._block_of(target.timeout_s)
        self._messages = islice(cycle(target.messages), first % len(target.messages), None)
        self._lines = lines
        # Stream -> (when it was due, when it is given up, its caller, its connection), the oldest first.
        self._under_way: OrderedDict[Stream, tuple[int, int, int, PolledLine]] = OrderedDict()
        # The same of those for which no connection had room yet.
        self._waiting: deque[tuple[int, int, int]] = deque()

    def __len__(self) -> int:
        return len(self._under_way) + len(self._waiting)

    def send(self, due_ns: int, now_ns: int, caller: int) -> None:
        """Send a request, or have it wait for a connection that has room.

        Args:
            due_ns: When it was due: its latency counts from then.
            now_ns: Its timeout counts from now.
            caller: Its number; callers with equal numbers share a connection, as long as that has room.
        """
        deadline_ns = now_ns + self._timeout_ns
        line = None if self._waiting else self._lines.usable(caller)
        if line is None:
            self._waiting.append((due_ns, deadline_ns, caller))
        else:
            self._begin(line, self._block, due_ns, deadline_ns, caller)

    @property
    def some_wait(self) -> bool:
        """Whether there is one for which no connection had room."""
        return bool(self._waiting)

    def send_waiting(self, now_ns: int) -> None:
        """Send those for which there is room now. Their timeout goes on."""
        while self._waiting:
            due_ns, deadline_ns, caller = self._waiting[0]
            line = self._lines.usable(caller)
            if line is None:
                return
            self._waiting.popleft()
            block = self._block_of(max(deadline_ns - now_ns, 0) / _NS_PER_S)
            self._begin(line, block, due_ns, deadline_ns, caller)

    def refuse_waiting(self, now_ns: int) -> None:
        """There is no connection, so those that wait for one fail."""
        while self._waiting:
            self._fail_waiting("UNAVAILABLE", now_ns)

    def expire(self, now_ns: int) -> int | None:
        """Give up those whose time is over. Returns when the next one's is; None where there is none."""
        while self._waiting and self._waiting[0][1] <= now_ns:
            self._fail_waiting("DEADLINE_EXCEEDED", now_ns)
        next_ns = self._waiting[0][1] if self._waiting else None
        while self._under_way:
            stream, (_, deadline_ns, _, line) = next(iter(self._under_way.items()))
            if deadline_ns > now_ns:
                return deadline_ns if next_ns is None else min(deadline_ns, next_ns)
            line.now_ns = now_ns
            line.http.cancel(stream)
            self._lines.flush_soon(line)
            stream.answer.fail(deadline_exceeded())
        return next_ns

    def _begin(self, line: PolledLine, block: bytes, due_ns: int, deadline_ns: int, caller: int) -> None:
        stream = line.http.open(block, next(self._messages))
        stream.answer.on_end = partial(self._ended, stream)
        self._under_way[stream] = due_ns, deadline_ns, caller, line
        self._lines.flush_soon(line)

    def _ended(self, stream: Stream) -> None:
        due_ns, _, caller, line = self._under_way.pop(stream)
        answer = stream.answer
        answer.on_end = None  # it holds the stream, which holds the answer
        try:
            message = answer.message()
        except LaneFailure as failure:
            self.tally.failed(failure.code().name, line.now_ns)
        else:
            if self._answer_bytes is None or len(message) == self._answer_bytes:
                self.tally.answered(due_ns, line.now_ns)
            else:
                self.tally.failed(WRONG_ANSWER, line.now_ns)
        if self.freed is not None:
            self.freed.append(caller)

    def _fail_waiting(self, status: str, now_ns: int) -> None:
        caller = self._waiting.popleft()[2]
        self.tally.failed(status, now_ns)
        if self.freed is not None:
            self.freed.append(caller)

    def _block_of(self, timeout_s: float) -> bytes:
        block = self._blocks.block(timeout_s, ())
        if block is None:
            raise ValueError("the header of a request without metadata is always plain; this is a bug of the load")
        return block
