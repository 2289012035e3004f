"""A call whose answer takes its way through somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.engine.call import InterceptedCall
from sardonyx_server.errors import ExecutionFailed
from tests.server.engine.doubles import FakeCall

if TYPE_CHECKING:
    from sardonyx_server.engine.call import Call
    from sardonyx_wire.protobuf_fields import EncodedMessage


class Keeping:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[tuple[Call, EncodedMessage | Exception]] = []

    def reply(self, call: Call, message: EncodedMessage) -> None:
        """Keep an answer."""
        self.kept.append((call, message))

    def fail(self, call: Call, error: Exception) -> None:
        """Keep an error."""
        self.kept.append((call, error))


def test_answers_go_where_they_are_seen_to() -> None:
    """Both kinds, with the call they are for; the call itself gets nothing yet."""
    call, keeping, error = FakeCall(), Keeping(), ExecutionFailed("no")
    one = InterceptedCall(call, keeping)
    one.reply(b"answer")
    one.fail(error)
    assert keeping.kept == [(call, b"answer"), (call, error)]
    assert not call.replies
    assert not call.errors


def test_it_is_the_call_in_all_else() -> None:
    """Deadline, kind, metadata, peer, cancellation."""
    call = FakeCall(deadline_s=7.5, streamed=True)
    call.metadata = (("k", "v"),)
    one = InterceptedCall(call, Keeping())
    assert (one.deadline_s, one.streamed, one.metadata) == (7.5, True, call.metadata)
    assert (one.peer(), one.cancelled) == (call.peer(), False)
    one.watch()
    call.cancelled = True
    assert (one.cancelled, call.watched) == (True, 1)
