"""A bare completion-queue echo: the highest rate of a Python process on gRPC's core. Knows no models.

It drives core's completion queue, as C++ servers do, and does nothing else: no parsing, no queue, no batching. Events
are taken one at a time: since nothing is batched, draining first would only add an empty poll to each burst.

    python -m bench.limits.echo                      # responds to each message with itself
    python -m bench.limits.echo --answer-bytes 12    # responds to each message with 12 bytes
"""

from __future__ import annotations

import argparse
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bench.control import serve_commands
from bench.limits.polling import poll_on_own_thread

# Before gRPC is imported, which would otherwise be slower.
poll_on_own_thread()

import grpc  # noqa: E402  # see above

from bench.limits.completion_queue import (  # noqa: E402  # likewise
    AttachedQueue,
    answer_operations,
    receive_operations,
)
from sardonyx_wire.messages import METHODS  # noqa: E402  # likewise

if TYPE_CHECKING:
    from bench.limits.completion_queue import Event

__all__: list[str] = []

_METHOD: Final = METHODS["ModelInfer"].path
_POSTED_CALLS: Final = 128
_OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0))


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits.echo", description=__doc__)
    parser.add_argument("--answer-bytes", type=int, help="answer with so many fixed bytes instead of the message")
    answer_bytes: int | None = parser.parse_args().answer_bytes
    # Not zeros: the kernel maps zeros to a single page, unlike the output of a model. Sending 602 kB took 160 us
    # from that page and 190 us from memory (2026-11-26).
    serve(None if answer_bytes is None else b"\1" * answer_bytes)


class _Echo:
    """Handles the calls; tags are bound methods."""

    def __init__(self, queue: AttachedQueue, answer: bytes | None) -> None:
        self._queue = queue
        self._answer = answer

    def on_request(self, event: Event) -> None:
        if not event.success:
            return  # The server is stopping and hands back what was posted.
        self._queue.renew(_METHOD, self.on_request)
        event.call.start_server_batch(receive_operations(), partial(self._on_message, event.call))

    def _on_message(self, call: Any, event: Event) -> None:
        message = event.batch_operations[0].message() if self._answer is None else self._answer
        call.start_server_batch(answer_operations(message), self._on_end)

    def _on_end(self, _event: Event) -> None:
        pass


def serve(answer: bytes | None) -> None:
    """Serve on a free port until the input ends. Blocks; polls on the calling thread.

    Args:
        answer: What to answer with; None = the message itself.
    """
    server = grpc.server(ThreadPoolExecutor(max_workers=1), options=_OPTIONS)
    queue = AttachedQueue(server, (_METHOD,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    echo = _Echo(queue, answer)

    def control() -> None:
        serve_commands({"address": f"127.0.0.1:{port}"}, lambda _: {})
        server.stop(0).wait()
        queue.shutdown()

    for _ in range(_POSTED_CALLS):
        queue.post(_METHOD, echo.on_request)
    gc.freeze()
    gc.disable()
    threading.Thread(target=control, name="control", daemon=True).start()
    poll = queue.poll
    while True:
        event = poll(None)
        if event.tag is None:
            if queue.ended(event):
                return
        elif type(event.tag) in queue.foreign:
            queue.relay(event)
        else:
            event.tag(event)
        event = None  # Kept while the thread waits, it would keep the last message in memory.


if __name__ == "__main__":
    main()
