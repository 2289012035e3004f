"""A non-blocking HTTP/1.1 connection, and the head of a response. See http1.py, which waits for it."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sardonyx_server.load.loops import LoadGeneratorError

__all__ = ["Head", "Http1Connection", "read_head"]

_MOST_HEAD_BYTES: Final = 64 * 1024

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the head of an answer says."""

    status: int
    head_bytes: int
    body_bytes: int
    closes: bool


class Http1Connection:
    """One connection.

    Raises:
        OSError: There is none.
    """

    __slots__ = (
        *("answer", "answers", "caller", "deadline_ns", "due_ns", "missing", "received", "request", "socket", "unsent"),
    )

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self.socket = socket.create_connection(address, timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)  # noqa: FBT003  # its only argument
        self.answers = 0
        # Of the request under way; b"" = none is.
        self.request = b""
        self.unsent = memoryview(b"")
        self.due_ns = self.deadline_ns = self.caller = 0
        self.received = bytearray()
        # Of the answer, once its head is complete; and bytes that are still to come then.
        self.answer: Head | None = None
        self.missing = 0

    def start(self, request: bytes, due_ns: int, deadline_ns: int, caller: int) -> None:
        """Make ready what :meth:`flush` sends."""
        self.request, self.unsent = request, memoryview(request)
        self.due_ns, self.deadline_ns, self.caller = due_ns, deadline_ns, caller
        self.received.clear()
        self.answer = None

    def flush(self) -> bool:
        """Hand over what there is to send; whether the system took all of it. Raises OSError."""
        with suppress(BlockingIOError):
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        return not self.unsent


def read_head(received: bytearray) -> Head | None:
    """The head of a response; None while it is incomplete. Raises LoadGeneratorError if it is unusable."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        if len(received) > _MOST_HEAD_BYTES:
            raise LoadGeneratorError(f"the head of an answer has over {_MOST_HEAD_BYTES} bytes")
        return None
    status, length = _STATUS.match(received), _LENGTH.search(received, 0, end)
    if status is None or length is None:
        raise LoadGeneratorError(f"expected an answer of HTTP/1.1 with Content-Length, got {bytes(received[:end])!r}")
    closes = _CLOSE.search(received, 0, end) is not None
    return Head(status=int(status[1]), head_bytes=end + 4, body_bytes=int(length[1]), closes=closes)
