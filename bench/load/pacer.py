"""The process behind ``bench.load.steady``: sends one message at a constant rate while it is told to.

    python -m bench.load.pacer ADDRESS METHOD FILE

Obeys two lines: ``{"rate": CALLS_A_SECOND}`` begins, ``{}`` ends and is answered with all calls.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import grpc

from bench.control import obey

__all__: list[str] = []

_TIMEOUT_S: Final = 30.0


class Pacer:
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
        self._answered = threading.Condition()
        self._sent = 0
        self._calls: list[tuple[float, float]] = []
        self._problem = ""
        self._thread = threading.Thread()

    def obey(self, line: str) -> Mapping[str, object]:
        """Begin or end."""
        words = json.loads(line)
        if "rate" in words:
            self._ended.clear()
            self._sent, self._calls = 0, []
            self._thread = threading.Thread(target=self._pace, args=(1 / words["rate"],), name="pace")
            self._thread.start()
            return {}
        self._ended.set()
        self._thread.join()
        with self._answered:
            self._answered.wait_for(lambda: self._problem or len(self._calls) == self._sent, _TIMEOUT_S)
        return {"problem": self._problem} if self._problem else {"calls": self._calls}

    def _pace(self, interval_s: float) -> None:
        began_s = time.monotonic()
        while not self._ended.is_set():
            due_s = began_s + self._sent * interval_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            self._sent += 1
            self._send(due_s)

    def _send(self, due_s: float) -> None:
        def done(call: grpc.Future[bytes]) -> None:
            latency_s = time.monotonic() - due_s
            error = call.exception()
            with self._answered:
                if error is not None:
                    self._problem = f"a call failed: {error}"
                self._calls.append((due_s, latency_s))
                self._answered.notify()

        self._call.future(self._request, timeout=_TIMEOUT_S).add_done_callback(done)


def main() -> None:
    """Connect, and obey until the input ends."""
    address, method, file = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(_TIMEOUT_S)
        obey({"address": address}, Pacer(channel, method, Path(file).read_bytes()).obey)


if __name__ == "__main__":
    main()
