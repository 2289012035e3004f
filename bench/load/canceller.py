"""Callers that cancel: sends one message at a constant rate, and cancels each call soon after. Measures nothing.

    python -m bench.load.canceller ADDRESS METHOD FILE

Commands: ``{"rate": CALLS_A_SECOND, "after_s": SECONDS}`` starts, ``{}`` ends and returns the counts.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import grpc

from bench.control import serve_commands

__all__: list[str] = []

_TIMEOUT_S: Final = 30.0


class Canceller:
    """Calls of one method on one connection.

    Args:
        channel: To the server.
        method: Full name.
        request: The serialised message.
    """

    def __init__(self, channel: grpc.Channel, method: str, request: bytes) -> None:
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        self._request = request
        self._ended = threading.Event()
        self._thread = threading.Thread()
        self._cancelled = self._answered = 0

    def serve_commands(self, line: str) -> Mapping[str, object]:
        """Begin or end."""
        words = json.loads(line)
        if "rate" in words:
            self._ended.clear()
            self._cancelled = self._answered = 0
            arguments = (1 / words["rate"], words["after_s"])
            self._thread = threading.Thread(target=self._storm, args=arguments, name="storm")
            self._thread.start()
            return {}
        self._ended.set()
        self._thread.join()
        return {"cancelled": self._cancelled, "answered": self._answered}

    def _storm(self, interval_s: float, after_s: float) -> None:
        under_way: deque[tuple[float, grpc.Future[bytes]]] = deque()
        due_s = time.monotonic()
        while not self._ended.is_set():
            due_s += interval_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            under_way.append((time.monotonic() + after_s, self._call.future(self._request, timeout=_TIMEOUT_S)))
            self._give_up(under_way, time.monotonic())
        self._give_up(under_way, float("inf"))

    def _give_up(self, under_way: deque[tuple[float, grpc.Future[bytes]]], now_s: float) -> None:
        """Cancel the calls whose time has come."""
        while under_way and under_way[0][0] <= now_s:
            _, call = under_way.popleft()
            if call.done():
                self._answered += 1
            else:
                call.cancel()
                self._cancelled += 1


def main() -> None:
    """Connect, and obey until the input ends."""
    address, method, file = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(_TIMEOUT_S)
        serve_commands({"address": address}, Canceller(channel, method, Path(file).read_bytes()).serve_commands)


if __name__ == "__main__":
    main()
