"""What callers and the engine may rely on of a stream, whichever transport it comes by: one suite for both."""

from __future__ import annotations

import math
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status as RpcStatus

from sardonyx_server.errors import Cancelled, Forbidden, InvalidRequest
from sardonyx_server.rpc.lane.proxy.shutdown_status import SHUTDOWN_STATUS
from sardonyx_server.rpc.stream import WINDOW_REQUESTS
from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.stream_responses import stream_response
from tests.server.rpc.conversations import Conversation, answer, conversing, request
from tests.server.rpc.doubles import Asks
from tests.server.rpc.transports import (
    BOUND_S,
    HASTE_S,
    METHOD,
    STREAM_METHOD,
    TRANSPORTS,
    Transport,
    opened,
    stopped_codes,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sardonyx_server.engine.call import Call

ENDS_AT_FAILURE = (("triton_grpc_error", "true"),)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Each transport, with requests that wait for the test."""
    with opened(request.param) as running:
        yield running


@pytest.fixture(params=TRANSPORTS)
def echo(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Each transport, with answers given at once, as inline models do: on the transport's own thread."""
    with opened(request.param, react=lambda message, call: call.reply(answer(message))) as running:
        yield running


def take(transport: Transport, count: int) -> list[tuple[bytes, Call]]:
    """The next requests; waits for them."""
    return [transport.calls.take() for _ in range(count)]


def ended(transport: Transport) -> None:
    """Wait until no call is open."""
    until(lambda: not transport.serving.open_calls)


def test_requests_and_answers_take_turns(transport: Transport) -> None:
    """From a thread that is not the transport's; each is marked as the last answer to its request."""
    with conversing(transport) as stream:
        for k in range(5):
            stream.send(request(str(k)))
            message, call = transport.calls.take()
            assert message == request(str(k))
            call.reply(answer(message))
            assert stream.ids(1) == [str(k)]
        stream.half_close()
        assert stream.rest() == []
        assert stream.code() is grpc.StatusCode.OK
    ended(transport)


def test_answers_may_be_given_within_accept(echo: Transport) -> None:
    """100 requests in one go."""
    with conversing(echo) as stream:
        stream.send(*(request(str(k)) for k in range(100)))
        stream.half_close()
        assert stream.ids(100) == [str(k) for k in range(100)]
        assert stream.rest() == []
        assert stream.code() is grpc.StatusCode.OK
    ended(echo)


def test_requests_are_read_ahead_so_that_they_may_share_a_batch(transport: Transport) -> None:
    """Up to the window; the next one when an answer is under way."""
    with conversing(transport) as stream:
        stream.send(*(request(str(k)) for k in range(WINDOW_REQUESTS + 1)))
        taken = take(transport, WINDOW_REQUESTS)
        assert transport.calls.none_has_come()
        taken[0][1].reply(answer(taken[0][0]))
        assert stream.ids(1) == ["0"]
        taken += take(transport, 1)
        for message, call in taken[1:]:
            call.reply(answer(message))
        assert stream.ids(WINDOW_REQUESTS) == [str(k) for k in range(1, WINDOW_REQUESTS + 1)]


def test_answers_come_in_the_order_of_the_requests(transport: Transport) -> None:
    """The engine gives them the other way round."""
    with conversing(transport) as stream:
        stream.send(*(request(str(k)) for k in range(20)))
        for message, call in reversed(take(transport, 20)):
            call.reply(answer(message))
        assert stream.ids(20) == [str(k) for k in range(20)]


def test_an_empty_stream_ends_well(transport: Transport) -> None:
    """No request, no answer."""
    with conversing(transport) as stream:
        stream.half_close()
        assert stream.rest() == []
        assert stream.code() is grpc.StatusCode.OK
    ended(transport)


def test_an_empty_message_is_a_request(transport: Transport) -> None:
    """Not the end of the stream."""
    with conversing(transport) as stream:
        stream.send(b"", b"")
        for message, call in take(transport, 2):
            assert message == b""
            call.reply(b"")
        assert stream.ids(2) == ["", ""]


def test_after_a_half_close_what_is_in_flight_is_answered(transport: Transport) -> None:
    """Then the stream ends, and well."""
    with conversing(transport) as stream:
        stream.send(request("a"), request("b"))
        stream.half_close()
        (first, call), (second, last) = take(transport, 2)
        last.reply(answer(second))
        call.reply(answer(first))
        assert [one.infer_response.id for one in stream.rest()] == ["a", "b"]
        assert stream.code() is grpc.StatusCode.OK


def test_a_request_that_fails_leaves_the_stream_open(transport: Transport) -> None:
    """Its text and id come in its turn."""
    with conversing(transport) as stream:
        stream.send(request("bad"), request("good"))
        (_, bad), (message, good) = take(transport, 2)
        good.reply(answer(message))
        bad.fail(InvalidRequest("input 'ü': wrong"))
        failure = stream.read()
        assert (failure.error_message, failure.infer_response.id) == ("input 'ü': wrong", "bad")
        assert stream.ids(1) == ["good"]
        stream.half_close()
        assert stream.rest() == []
        assert stream.code() is grpc.StatusCode.OK


def test_a_caller_that_asks_for_it_gets_the_status_of_a_failure(transport: Transport) -> None:
    """With all details; what was asked before is answered, what was asked after is cancelled."""
    with conversing(transport, metadata=ENDS_AT_FAILURE) as stream:
        stream.send(*(request(str(k)) for k in range(3)))
        (first, good), (_, bad), (_, late) = take(transport, 3)
        bad.fail(InvalidRequest("input 'x': wrong", field="inputs[0].name"))
        assert not late.cancelled
        good.reply(answer(first))
        assert [one.infer_response.id for one in stream.rest()] == ["0"]
        assert stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert stream.call.details() == "input 'x': wrong"
        status = RpcStatus.FromString(dict(stream.call.trailing_metadata())["grpc-status-details-bin"])
        info, blamed = ErrorInfo(), BadRequest()
        assert status.details[0].Unpack(info)
        assert status.details[1].Unpack(blamed)
        assert info.reason == "INVALID_REQUEST"
        assert [violation.field for violation in blamed.field_violations] == ["inputs[0].name"]
        until(lambda: late.cancelled)
        late.fail(Cancelled("gone"))
    ended(transport)


def test_an_unforeseen_failure_shows_an_id_and_nothing_else(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    """Also within the stream."""
    with conversing(transport) as stream:
        stream.send(request())
        transport.calls.take()[1].fail(KeyError("/secret/path"))
        text = stream.read().error_message
        assert "secret" not in text
        (record,) = [record for record in caplog.records if hasattr(record, "error_id")]
        assert record.error_id in text


def test_a_request_has_metadata_peer_and_deadline_of_its_stream(transport: Transport) -> None:
    """In the order sent, binary values as bytes."""
    before_s = time.monotonic()
    with conversing(transport, metadata=(("b-key", "1"), ("a-key", "2"), ("raw-bin", b"\x00\xff")), timeout=15) as one:
        one.send(request())
        _, call = transport.calls.take()
        own = [(key, value) for key, value in call.metadata if key in {"a-key", "b-key", "raw-bin"}]
        assert own == [("b-key", "1"), ("a-key", "2"), ("raw-bin", b"\x00\xff")]
        assert call.peer().startswith("ipv4:127.0.0.1:")
        assert before_s + 14 < call.deadline_s < time.monotonic() + 16
        call.reply(b"")
        one.read()
    with conversing(transport, timeout=None) as patient:
        patient.send(request())
        _, call = transport.calls.take()
        assert call.deadline_s == math.inf
        call.reply(b"")
        patient.read()


def test_a_cancellation_is_seen_by_every_request_in_flight(transport: Transport) -> None:
    """So that no model runs for nobody; late answers, of both kinds, are swallowed, and nothing stays open."""
    with conversing(transport) as stream:
        stream.send(*(request(str(k)) for k in range(4)))
        calls = [call for _, call in take(transport, 4)]
        for call in calls:
            call.watch()
        assert not any(call.cancelled for call in calls)
        stream.call.cancel()
        until(lambda: all(call.cancelled for call in calls))
        assert transport.serving.open_calls == 1
        for call in calls[:2]:
            call.fail(Cancelled("gone"))
        for call in calls[2:]:
            call.reply(b"")
    ended(transport)


def test_a_deadline_that_passes_is_seen_as_a_cancellation(transport: Transport) -> None:
    """Nobody waits any more, whatever the reason."""
    came: list[tuple[bytes, Call]] = []
    for timeout_s in HASTE_S:
        with conversing(transport, timeout=timeout_s) as stream:
            stream.send(request())
            assert stream.rest() == []
            assert stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            came = transport.calls.take_all()
        if came:
            break
    until(lambda: bool(came) and all(call.cancelled for _, call in came))
    for _, call in came:
        call.reply(b"too late")
    transport.answer_late()


def test_an_idle_stream_ends_at_its_deadline(transport: Transport) -> None:
    """Without a request."""
    with conversing(transport, timeout=0.1) as stream:
        assert stream.rest() == []
        assert stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    ended(transport)


def test_a_stream_that_is_not_allowed_reaches_no_intake() -> None:
    """Authorisation comes before the first message is read."""

    def authorise(method: str, metadata: Sequence[tuple[str, str | bytes]], peer: str) -> None:
        seen.append(method)
        if ("key", "right") not in metadata:
            raise Forbidden("wrong key")

    for name in TRANSPORTS:
        seen: list[str] = []
        with opened(name, access_control=Asks(authorise)) as transport:
            with conversing(transport) as stream:
                stream.send(request())
                assert stream.rest() == []
                assert (stream.code(), stream.call.details()) == (grpc.StatusCode.PERMISSION_DENIED, "wrong key")
            with conversing(transport, metadata=(("key", "right"),)) as stream:
                stream.send(request("a"))
                message, call = transport.calls.take()
                call.reply(answer(message))
                assert stream.ids(1) == ["a"]
            ended(transport)
        assert seen == [STREAM_METHOD, STREAM_METHOD]


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_message_above_the_limit_ends_its_stream(name: str, compression: Any) -> None:
    """RESOURCE_EXHAUSTED by grpc's core. Compressed, the size when unpacked counts."""
    with opened(
        name,
        options=(("grpc.max_receive_message_length", 100_000),),
        react=lambda message, call: call.reply(answer(message)),
    ) as transport:
        with conversing(transport, compression=compression) as stream:
            stream.send(request("small", bytes(90_000)))
            assert stream.ids(1) == ["small"]
            stream.send(request("large", bytes(100_001)))
            assert stream.rest() == []
            assert stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with conversing(transport) as stream:
            stream.send(request("after"))
            assert stream.ids(1) == ["after"]
        ended(transport)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_an_answer_above_the_limit_is_a_failure_and_leaves_the_stream_open(name: str) -> None:
    """The same text as of a unary call, in the message of its turn; the largest that may be sent is sent."""
    sizes = {"large": 100_001, "small": 1}

    def react(message: bytes, call: Call) -> None:
        call.reply(answer(message, bytes(sizes[ModelInferRequest.FromString(bytes(message)).id])))

    with opened(name, options=(("grpc.max_receive_message_length", 100_000),), react=react) as transport:
        with conversing(transport) as stream:
            stream.send(request("large"), request("small"))
            failure = stream.read()
            assert failure.infer_response.id == "large"
            whole_bytes = len(stream_response(answer(request("large"), bytes(100_001))))
            assert failure.error_message == (
                f"the answer is larger than max_message_bytes: it has {whole_bytes} bytes, 100000 are sent; "
                "ask for less at a time, or have the server's limit raised"
            )
            assert stream.ids(1) == ["small"]
            sizes["edge"] = 100_000 - (len(stream_response(answer(request("edge"), bytes(90_000)))) - 90_000)
            stream.send(request("edge"))
            assert stream.ids(1) == ["edge"]
            stream.half_close()
            assert stream.rest() == []
            assert stream.code() is grpc.StatusCode.OK
        ended(transport)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_caller_that_does_not_read_is_not_read_from(name: str) -> None:
    """However much it sends: what waits for it is bounded, and all of it is there when it reads at last."""
    accepted = [0]
    payload = bytes(2**20)

    def react(message: bytes, call: Call) -> None:
        accepted[0] += 1
        call.reply(answer(message, payload))

    with opened(name, react=react) as transport:
        with conversing(transport, timeout=60) as stream:
            stream.send(*(request(str(k)) for k in range(100)))
            until(lambda: accepted[0] >= 8)
            # Others are served meanwhile.
            assert transport.send(request("unary")).result() == answer(request("unary"), payload)
            for k in range(100):
                # One in flight; eight that wait; some that grpc and the sockets hold.
                assert accepted[0] <= k + 40
                assert stream.ids(1) == [str(k)]
        ended(transport)


def test_streams_do_not_wait_for_each_other(transport: Transport) -> None:
    """One whose answer is missing holds up no other, nor a unary call."""
    with conversing(transport) as stuck, conversing(transport) as free:
        stuck.send(request("stuck"))
        held_message, held = transport.calls.take()
        free.send(request("free"))
        message, call = transport.calls.take()
        call.reply(answer(message))
        assert free.ids(1) == ["free"]
        unary = transport.send(request("unary"))
        message, call = transport.calls.take()
        call.reply(answer(message))
        assert unary.result() == answer(request("unary"))
        held.reply(answer(held_message))
        assert stuck.ids(1) == ["stuck"]


def test_16_streams_get_their_own_answers_in_their_own_order() -> None:
    """100 requests on each, answered from four threads in any order."""
    for name in TRANSPORTS:
        with ThreadPoolExecutor(4) as workers:

            def react(message: bytes, call: Call, workers: ThreadPoolExecutor = workers) -> None:
                workers.submit(call.reply, answer(message))

            with opened(name, react=react) as transport:

                def converse(number: int, transport: Transport = transport) -> bool:
                    expected = [f"{number}-{k}" for k in range(100)]
                    with conversing(transport, timeout=60) as stream:
                        stream.send(*(request(each) for each in expected))
                        stream.half_close()
                        return stream.ids(100) == expected and stream.rest() == []

                with ThreadPoolExecutor(16) as callers:
                    assert all(callers.map(converse, range(16)))
                ended(transport)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_storm_of_cancellations_leaves_nothing_open(name: str) -> None:
    """At any moment: before the first answer, between two, after the last."""
    chance = random.Random(4)  # noqa: S311  # no secret
    with ThreadPoolExecutor(4) as workers:

        def react(message: bytes, call: Call) -> None:
            if call.cancelled:
                call.fail(Cancelled("gone"))
            else:
                workers.submit(call.reply, answer(message))

        with opened(name, react=react) as transport:
            for _ in range(10):
                streams = [Conversation(transport.channel) for _ in range(20)]
                for stream in streams:
                    stream.send(*(request(str(k)) for k in range(chance.randrange(20))))
                for stream in streams:
                    if chance.random() < 0.5:
                        stream.half_close()
                    stream.close()
            ended(transport)
            with conversing(transport) as stream:
                stream.send(request("after"))
                assert stream.ids(1) == ["after"]


def test_a_drain_ends_idle_streams_and_takes_no_new_ones(transport: Transport) -> None:
    """UNAVAILABLE: the caller goes to another server. Unary calls are still taken."""
    with conversing(transport) as idle, conversing(transport) as used:
        used.send(request("a"))
        message, call = transport.calls.take()
        call.reply(answer(message))
        assert used.ids(1) == ["a"]
        until(lambda: transport.serving.open_calls == 2)
        transport.serving.drain()
        for stream in (idle, used):
            assert stream.rest() == []
            assert stream.code() is grpc.StatusCode.UNAVAILABLE
            assert stream.call.details().startswith("the server is stopping: what has no answer yet did not run; ")
        with conversing(transport) as late:
            assert late.rest() == []
            assert late.code() is grpc.StatusCode.UNAVAILABLE
            assert late.call.details() == "the server is stopping and takes no new streams; go to another server"
        unary = transport.send(b"unary")
        transport.calls.take()[1].reply(b"served")
        assert unary.result() == b"served"
    assert transport.serving.wait_idle(BOUND_S)


def test_a_drain_lets_what_is_in_flight_be_answered(transport: Transport) -> None:
    """Nothing that was taken is lost."""
    with conversing(transport) as stream:
        stream.send(request("a"), request("b"))
        taken = take(transport, 2)
        transport.serving.drain()
        assert not transport.serving.wait_idle(0.01)
        for message, call in reversed(taken):
            assert not call.cancelled
            call.reply(answer(message))
        assert [one.infer_response.id for one in stream.rest()] == ["a", "b"]
        assert stream.code() is grpc.StatusCode.UNAVAILABLE
    assert transport.serving.wait_idle(BOUND_S)


def test_a_stop_without_grace_cancels_streams(transport: Transport) -> None:
    """What is in flight ends; the engine's answers are swallowed."""
    with conversing(transport) as idle, conversing(transport) as busy:
        busy.send(request())
        _, call = transport.calls.take()
        until(lambda: transport.serving.open_calls == 2)
        transport.serving.stop_server(0)
        assert idle.rest() == busy.rest() == []
        assert {idle.code(), busy.code()} <= stopped_codes(transport.name)
        if transport.name == "lane":
            assert {idle.call.details(), busy.call.details()} == {SHUTDOWN_STATUS.message}
        until(lambda: call.cancelled)
        call.fail(Cancelled("gone"))
    ended(transport)


def test_unary_calls_find_their_way_beside_many_open_streams(transport: Transport) -> None:
    """Idle streams hold nothing that another call needs; on the public API they have threads of their own."""
    streams = [Conversation(transport.channel) for _ in range(60)]
    until(lambda: transport.serving.open_calls == 60)
    call = transport.channel.unary_unary(METHOD)
    with ThreadPoolExecutor(1) as caller:
        for _ in range(20):
            sent = caller.submit(call, b"ask", timeout=BOUND_S)
            transport.calls.take()[1].reply(b"answer")
            assert sent.result() == b"answer"
    for stream in streams:
        stream.close()
    ended(transport)


def test_answers_given_while_a_caller_goes_away_are_swallowed(transport: Transport) -> None:
    """Both at once, many times."""
    for _ in range(50):
        with conversing(transport) as stream:
            stream.send(request())
            message, call = transport.calls.take()
            other = threading.Thread(target=call.reply, args=(answer(message),))
            other.start()
            stream.call.cancel()
            other.join()
    ended(transport)
