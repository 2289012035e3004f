"""Order, bounds and ends of one stream, without a socket: the test is its driver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.errors import Cancelled, InvalidRequest
from sardonyx_server.rpc.stream import HELD_BYTES, WINDOW_REQUESTS, Stream, StreamCall
from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse

ENDS_AT_FAILURE = (("triton_grpc_error", "true"),)


class Driver:
    """Carries one stream, and writes down what it sends."""

    deadline_s = math.inf
    max_answer_bytes = 1 << 30

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self.metadata: Sequence[tuple[str, str | bytes]] = metadata
        self.stream = Stream(metadata)
        self.frames: list[ModelStreamInferResponse] = []

    @property
    def cancelled(self) -> bool:
        """See ``StreamDriver``."""
        return self.stream.cancelled

    def peer(self) -> str:
        """See ``StreamDriver``."""
        return "ipv4:127.0.0.1:1"

    def settled(self, call: StreamCall) -> None:
        """See ``StreamDriver``."""
        self.stream.settle(call)

    def is_over(self) -> bool:
        """As a call, since it changes from one line to the next."""
        return self.stream.is_over

    def wants_message(self) -> bool:
        """Likewise."""
        return self.stream.wants_message

    def take(self, request_id: str = "", payload_bytes: int = 0) -> StreamCall:
        """One request comes, and is taken."""
        message = ModelInferRequest(id=request_id, raw_input_contents=[bytes(payload_bytes)]).SerializeToString()
        call = StreamCall(self, message)
        assert self.stream.take_in(call)
        return call

    def send(self) -> list[str]:
        """Send all that can be sent; ids of it."""
        before = len(self.frames)
        while (frame := self.stream.next_frame()) is not None:
            self.frames.append(ModelStreamInferResponse.FromString(frame))
            self.stream.sent()
        return [frame.infer_response.id for frame in self.frames[before:]]


def answer(request_id: str = "", payload_bytes: int = 0) -> bytes:
    """What a model gives."""
    return ModelInferResponse(id=request_id, raw_output_contents=[bytes(payload_bytes)]).SerializeToString()


@given(st.permutations(range(12)), st.data())
def test_answers_leave_in_the_order_of_the_requests(order: list[int], data: st.DataObject) -> None:
    """Whatever order they come in, and however sending and answering alternate."""
    driver = Driver()
    calls = [driver.take(str(k)) for k in range(len(order))]
    sent: list[str] = []
    for index in order:
        calls[index].reply(answer(str(index)))
        if data.draw(st.booleans()):
            sent += driver.send()
    assert sent + driver.send() == [str(k) for k in range(len(order))]
    assert not driver.stream.unanswered
    assert not driver.stream.is_busy
    assert not driver.is_over()
    assert driver.wants_message()


def test_one_frame_is_under_way_at_a_time() -> None:
    """Grpc takes one send operation for each call."""
    driver = Driver()
    for call in [driver.take("a"), driver.take("b")]:
        call.reply(answer())
    assert driver.stream.next_frame() is not None
    assert driver.stream.next_frame() is None
    driver.stream.sent()
    assert driver.stream.next_frame() is not None


def test_no_more_requests_are_read_than_the_window_holds() -> None:
    """One more for each answer that is under way."""
    driver = Driver()
    calls = [driver.take() for _ in range(WINDOW_REQUESTS)]
    assert not driver.wants_message()
    calls[1].reply(answer())
    assert driver.stream.next_frame() is None
    assert not driver.wants_message()
    calls[0].reply(answer())
    assert driver.stream.next_frame() is not None
    assert driver.wants_message()


def test_what_requests_hold_is_bounded_in_bytes() -> None:
    """A request is always taken where nothing is in flight, however large it is."""
    driver = Driver()
    large = driver.take(payload_bytes=HELD_BYTES)
    assert not driver.wants_message()
    large.reply(answer())
    assert driver.wants_message()
    driver.send()
    assert driver.wants_message()


def test_what_unsent_answers_hold_is_bounded_in_bytes() -> None:
    """A caller that does not read its answers is not read from, either."""
    driver = Driver()
    driver.take().reply(answer(payload_bytes=HELD_BYTES))
    assert driver.stream.next_frame() is not None
    assert not driver.wants_message()
    driver.stream.sent()
    assert driver.wants_message()


def test_an_answer_to_come_is_taken_to_be_as_large_as_the_last_one() -> None:
    """Else a window of small requests might bring 128 large answers."""
    driver = Driver()
    driver.take().reply(answer(payload_bytes=HELD_BYTES // 4))
    driver.send()
    taken = 0
    while driver.wants_message():
        driver.take()
        taken += 1
    assert taken == 4


def test_a_request_that_fails_leaves_the_stream_open() -> None:
    """Text and id, in its turn."""
    driver = Driver()
    first, second = driver.take("first"), driver.take("second")
    second.fail(InvalidRequest("input 'x': wrong"))
    assert driver.send() == []
    first.reply(answer("first"))
    assert driver.send() == ["first", "second"]
    assert [frame.error_message for frame in driver.frames] == ["", "input 'x': wrong"]
    assert all(frame.infer_response.parameters["triton_final_response"].bool_param for frame in driver.frames)
    assert driver.wants_message()
    assert not driver.is_over()


def test_an_unforeseen_failure_shows_an_id_only(caplog: pytest.LogCaptureFixture) -> None:
    """As in a status."""
    driver = Driver()
    driver.take().fail(KeyError("/secret"))
    driver.send()
    (record,) = [record for record in caplog.records if hasattr(record, "error_id")]
    assert driver.frames[0].error_message == (f"internal error; quote error id {record.error_id} to the operator")


def test_a_stream_that_ends_at_failures_ends_with_the_first_in_order() -> None:
    """What came before it is answered, what came after it does not run."""
    driver = Driver(*ENDS_AT_FAILURE)
    calls = [driver.take(str(k)) for k in range(4)]
    calls[2].fail(InvalidRequest("two"))
    calls[1].fail(InvalidRequest("one"))
    assert not driver.is_over()
    calls[0].reply(answer("0"))
    assert driver.send() == ["0"]
    assert driver.is_over()
    assert driver.stream.failure is not None
    assert (driver.stream.failure.code, driver.stream.failure.message) == (3, "one")
    assert calls[3].cancelled
    assert driver.stream.unanswered == 1
    calls[3].fail(Cancelled("gone"))
    assert driver.stream.unanswered == 0
    assert driver.send() == []
    assert not driver.wants_message()
    assert not driver.stream.take_in(StreamCall(driver, b""))


@pytest.mark.parametrize("value", ["false", "True ", ""])
def test_only_true_ends_a_stream_at_failures(value: str) -> None:
    """As Triton reads its header."""
    driver = Driver(("triton_grpc_error", value))
    driver.take().fail(InvalidRequest("wrong"))
    assert len(driver.send()) == 1
    assert not driver.is_over()


def test_a_stream_without_requests_ends_well() -> None:
    """Half-closed at once."""
    driver = Driver()
    driver.stream.complete()
    assert driver.is_over()
    assert driver.stream.failure is None


def test_after_a_half_close_what_is_in_flight_is_finished() -> None:
    """The last frame must have left before the status may."""
    driver = Driver()
    call = driver.take()
    driver.stream.complete()
    assert not driver.wants_message()
    assert not driver.is_over()
    call.reply(answer())
    assert not driver.is_over()
    assert driver.stream.next_frame() is not None
    assert not driver.is_over()
    driver.stream.sent()
    assert driver.is_over()
    assert driver.stream.failure is None


def test_a_drain_ends_an_idle_stream() -> None:
    """The caller goes to another server."""
    driver = Driver()
    driver.stream.drain()
    assert driver.is_over()
    assert driver.stream.failure is not None
    assert driver.stream.failure.code == 14
    assert driver.stream.failure.message == (
        "the server is stopping: what has no answer yet did not run; send it to another server"
    )


def test_a_drain_lets_what_is_in_flight_be_answered() -> None:
    """And takes nothing more."""
    driver = Driver()
    call = driver.take("a")
    driver.stream.drain()
    assert not driver.wants_message()
    assert not driver.stream.take_in(StreamCall(driver, b""))
    assert not driver.is_over()
    call.reply(answer("a"))
    assert driver.send() == ["a"]
    assert driver.is_over()
    assert driver.stream.failure is not None


@pytest.mark.parametrize("refused", [False, True])
def test_a_half_close_during_a_drain_is_well_if_all_was_answered(refused: bool) -> None:
    """A message that was refused did not run, and its caller must know."""
    driver = Driver()
    call = driver.take()
    driver.stream.drain()
    if refused:
        driver.stream.take_in(StreamCall(driver, b""))
    driver.stream.complete()
    call.reply(answer())
    driver.send()
    assert driver.is_over()
    assert (driver.stream.failure is not None) == refused


def test_a_drain_changes_nothing_for_a_stream_that_is_ending() -> None:
    """Half-closed already."""
    driver = Driver()
    driver.stream.complete()
    driver.stream.drain()
    assert driver.stream.failure is None


def test_a_caller_that_goes_away_cancels_what_is_in_flight() -> None:
    """So that the models do not run for it; the answers that come all the same are dropped."""
    driver = Driver()
    calls = [driver.take() for _ in range(3)]
    assert not any(call.cancelled for call in calls)
    driver.stream.abandon()
    assert all(call.cancelled for call in calls)
    for call in calls:
        call.reply(answer())
        assert call.frame is None
    assert driver.send() == []
    assert driver.stream.unanswered == 0


def test_a_request_has_what_its_stream_has() -> None:
    """Deadline, metadata, peer."""
    driver = Driver(("k", "v"))
    call: Any = driver.take()
    call.watch()
    assert (call.deadline_s, call.metadata, call.peer()) == (math.inf, (("k", "v"),), "ipv4:127.0.0.1:1")
