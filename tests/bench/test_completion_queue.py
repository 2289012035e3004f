"""The one module on grpcio's private API does what it claims, with the grpcio that is installed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from bench.limits.completion_queue import (
    AttachedQueue,
    answer_operations,
    close_operations,
    failure_operations,
    message_operations,
    receive_operations,
    status_operations,
    wake_operations,
)

ATTACHED = "/test.Service/Attached"
BOUND_S = 20.0


class Tag:
    """What a test posts with an operation.

    Args:
        name: Told by tests that compare.
    """

    def __init__(self, name: str) -> None:
        self.name = name


def event_of(queue: AttachedQueue) -> Any:
    """The next event of ours, whose tag becomes its name; waits for it, and relays what is grpcio's."""
    while True:
        event = queue.poll(time.time() + BOUND_S)
        assert event.tag is not None
        if type(event.tag) not in queue.foreign:
            return event
        queue.relay(event)


def test_only_attached_methods_arrive_and_all_others_stay_with_grpcio() -> None:
    """Both on one server and one port; a call is answered, another one failed."""
    server = grpc.server(ThreadPoolExecutor(1))
    stock: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(lambda message, _context: message)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Stock": stock}),))
    queue = AttachedQueue(server, [ATTACHED])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    queue.post(ATTACHED, Tag("first"))
    queue.post(ATTACHED, Tag("second"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        other: Any = channel.unary_unary("/test.Service/Stock")
        call: Any = channel.unary_unary(ATTACHED)
        stock_answer = other.future(b"stock", timeout=BOUND_S)
        good = call.future(b"one", timeout=BOUND_S)
        request = event_of(queue)
        request.call.start_server_batch(receive_operations(), Tag("message"))
        message = event_of(queue)
        assert message.batch_operations[0].message() == b"one"
        request.call.start_server_batch(answer_operations(b"two", learn_close=True), Tag("answered"))
        assert good.result() == b"two"
        assert event_of(queue).tag.name == "answered"

        bad = call.future(b"", timeout=BOUND_S)
        request = event_of(queue)
        request.call.start_server_batch(close_operations(), Tag("closed"))
        trailing = (("text", "x"), ("raw-bin", b"\x00"))
        request.call.start_server_batch(failure_operations(8, "voll: ü", trailing, learn_close=False), Tag("failed"))
        assert bad.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert bad.details() == "voll: ü"
        assert {("text", "x"), ("raw-bin", b"\x00")} <= {(key, value) for key, value in bad.trailing_metadata()}
        ends = {event.tag.name: event for event in (event_of(queue), event_of(queue))}
        assert set(ends) == {"closed", "failed"}
        assert not ends["closed"].batch_operations[0].cancelled()
        with ThreadPoolExecutor(1) as poller:
            rest = poller.submit(queue.relay_rest)
            assert stock_answer.result() == b"stock"
            server.stop(None).wait()
            queue.renew(ATTACHED, Tag("never"))  # A server that is stopping takes no offer, and says nothing.
            queue.shutdown()
            rest.result()


def test_a_call_cannot_be_posted_before_the_server_has_started() -> None:
    """A bug of ours, which must not go unseen."""
    server = grpc.server(ThreadPoolExecutor(1))
    queue = AttachedQueue(server, [ATTACHED])
    with pytest.raises(ValueError, match="server must be started"):
        queue.post(ATTACHED, Tag("early"))


def test_a_stream_is_received_and_sent_message_by_message() -> None:
    """Until the caller half-closes; an operation that does nothing carries a tag from another thread."""
    server = grpc.server(ThreadPoolExecutor(1))
    queue = AttachedQueue(server, [ATTACHED])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    queue.post(ATTACHED, Tag("stream"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream: Any = channel.stream_stream(ATTACHED)
        answers = stream(iter([b"one", b"", b"three"]), timeout=BOUND_S)
        call = event_of(queue).call
        with ThreadPoolExecutor(1) as other:
            other.submit(call.start_server_batch, wake_operations(), Tag("awake")).result()
        assert event_of(queue).tag.name == "awake"
        for index, expected in enumerate((b"one", b"", b"three")):
            call.start_server_batch(receive_operations(), Tag("message"))
            assert event_of(queue).batch_operations[0].message() == expected
            call.start_server_batch(message_operations(expected, first=not index), Tag("sent"))
            assert event_of(queue).tag.name == "sent"
            assert next(answers) == expected
        call.start_server_batch(receive_operations(), Tag("end"))
        assert event_of(queue).batch_operations[0].message() is None
        call.start_server_batch(close_operations(), Tag("closed"))
        call.start_server_batch(status_operations(14, "later: ü", (("text", "x"),), first=False), Tag("status"))
        ends = {event.tag.name: event for event in (event_of(queue), event_of(queue))}
        assert set(ends) == {"closed", "status"}
        assert not ends["closed"].batch_operations[0].cancelled()
        assert (answers.code(), answers.details()) == (grpc.StatusCode.UNAVAILABLE, "later: ü")
        assert ("text", "x") in [(key, value) for key, value in answers.trailing_metadata()]
    # Also on a call that is over: an answer may come when nobody waits for it any more.
    call.start_server_batch(wake_operations(), Tag("late"))
    assert event_of(queue).tag.name == "late"
    with ThreadPoolExecutor(1) as poller:
        rest = poller.submit(queue.relay_rest)
        server.stop(None).wait()
        queue.shutdown()
        rest.result()
