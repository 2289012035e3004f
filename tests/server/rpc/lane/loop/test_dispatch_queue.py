"""What waits to be handed to the intake, without sockets."""

from __future__ import annotations

from typing import Any

from sardonyx_server.rpc.lane.loop.dispatch_queue import DispatchQueue

# Streams that have a compressed message behind a full window: each nested level was some eleven calls of Python's.
STREAMS = 2000


class _Refusing:
    """Answers each message at once, as what is refused is: so the stream has room, and gives its next one."""

    def __init__(self) -> None:
        self.burst = DispatchQueue(self)
        self.accepted: list[bytes | memoryview] = []
        self.depth = self.deepest = 0

    def accept(self, message: bytes | memoryview, call: Any, _received_s: float | None = None) -> None:
        """See ``engine.intake.Intake``."""
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        self.accepted.append(message)
        if message == b"plain":
            self.burst.add_now(b"compressed", call)
        self.depth -= 1

    def reserve(self, beginning: memoryview, call: Any, message_bytes: int) -> None:
        """See ``engine.intake.Intake``."""

    def refuse(self, error: Exception, call: Any) -> None:
        """See ``engine.intake.Intake``."""

    def notify_pending(self, model: Any) -> None:
        """See ``engine.intake.Intake``."""

    def wake(self) -> None:
        """See ``engine.intake.Intake``."""

    def wake_early(self) -> None:
        """See ``engine.intake.Intake``."""

    def run_waiting(self) -> None:
        """See ``engine.intake.Intake``."""


def test_a_compressed_message_is_accepted_at_once() -> None:
    """Behind those that came before it."""
    requests = _Refusing()
    call: Any = object()
    requests.burst.add(b"first", call)
    requests.burst.add_now(b"compressed", call)
    assert requests.accepted == [b"first", b"compressed"]
    assert not requests.burst.waiting


def test_answers_that_make_room_for_compressed_messages_do_not_nest() -> None:
    """A caller with a hundred streams had the lane run into the interpreter's limit: calls were left open for ever."""
    requests = _Refusing()
    call: Any = object()
    for _ in range(STREAMS):
        requests.burst.add(b"plain", call)
    requests.burst.wake()
    assert requests.accepted == [b"plain", b"compressed"] * STREAMS
    assert requests.deepest == 2
    assert not requests.burst.waiting
