"""Many strings in one request are decoded by the run that takes them, and not where requests are taken in."""

from __future__ import annotations

import numpy as np
import pytest

from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.job import split
from sardonyx_server.engine.requests.lazy_strings import LANE_STRING_BYTES, LANE_STRINGS, LazyStrings, LazyStringSlice
from sardonyx_server.engine.running.execution import gather, run_batch
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.messages import ModelInferRequest
from tests.server.engine.doubles import (
    FakeSession,
    call_of,
    check,
    job,
    message,
    new_counters,
    one_input,
    signature,
    spec,
)

WIDE = signature(spec("x", "BYTES", (-1, -1)), max_rows=4)


def texts(count: int) -> list[str]:
    """Short ones, no two alike."""
    return [f"é{number}" for number in range(count)]


def strings(*shape: int, values: list[str]) -> ModelInferRequest:
    """A request of one input of strings."""
    return message({"x": np.array(values, object).reshape(shape)})


def typed(*values: bytes) -> ModelInferRequest:
    """A request of one row of strings as typed contents."""
    request = ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="BYTES", shape=[1, len(values)]).contents.bytes_contents.extend(values)
    return request


def empty(count: int, rows: int = 1) -> ModelInferRequest:
    """A request of so many empty strings, which take four bytes each."""
    return one_input((rows, count // rows), bytes(4 * count), datatype="BYTES")


class Decoder:
    """Counts how often it is asked."""

    def __init__(self, *answers: list[str] | InvalidRequest) -> None:
        self.calls = 0
        self._answers = list(answers)

    def __call__(self) -> list[str]:
        """The next answer."""
        self.calls += 1
        answer = self._answers.pop(0)
        if isinstance(answer, InvalidRequest):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("count", "length", "waits"),
    [(LANE_STRINGS, 1, False), (LANE_STRINGS + 1, 1, True), (1, LANE_STRING_BYTES + 1, True), (1, 1000, False)],
)
def test_many_strings_and_long_ones_are_left_to_the_run(count: int, length: int, *, waits: bool) -> None:
    """Few are decoded at once, as those of nearly all requests."""
    values = ["x" * length] * count
    for request in (strings(1, count, values=values), typed(*map(str.encode, values))):
        plan, (tensor,) = check(WIDE, request)
        assert isinstance(tensor, LazyStringSlice) is waits
        array = gather(plan.bucket.feeds[0], (tensor,), 1, has_batch_axis=True)
        assert array.tolist() == [values]


def test_more_rows_than_a_request_may_bring_are_refused_undecoded() -> None:
    """By its shape alone: what follows it is no string at all."""
    request = one_input((65537, 1), b"\xff" * 4 * 65537, datatype="BYTES")
    with pytest.raises(InvalidRequest) as refused:
        check(WIDE, request)
    assert refused.value.field == "inputs[0].shape"


def test_strings_that_cannot_be_there_are_refused_at_once() -> None:
    """A few bytes make nobody prepare for two thousand million strings."""
    with pytest.raises(InvalidRequest) as refused:
        check(WIDE, one_input((1, 2**31 - 1), bytes(8), datatype="BYTES"))
    assert refused.value.message == (
        "data of input 'x' of model 'm': expected 2147483647 BYTES elements, which take 8589934588 bytes or more, got "
        "8 bytes"
    )


def test_what_the_run_cannot_decode_is_refused_in_the_same_words() -> None:
    """As few strings would have been when they came."""
    for count in (3, LANE_STRINGS + 1):
        raw = one_input((1, count), bytes(4 * count - 4) + b"\x01\0\0\0\xff", datatype="BYTES")
        as_typed = typed(*[b""] * (count - 1), b"\xff")
        for request, field in ((raw, "raw_input_contents[0]"), (as_typed, "inputs[0].contents")):
            with pytest.raises(InvalidRequest) as refused:  # noqa: PT012  # the one here, the other there
                plan, tensors = check(WIDE, request)
                gather(plan.bucket.feeds[0], tensors, 1, has_batch_axis=True)
            assert refused.value.message == (
                f"data of input 'x' of model 'm': element {count - 1} is not UTF-8: byte 0xff at offset 0"
            )
            assert refused.value.field == field


def test_typed_strings_of_another_number_are_refused_at_once() -> None:
    """However many they are."""
    request = typed(*[b""] * (LANE_STRINGS + 2))
    request.inputs[0].shape[1] -= 1
    with pytest.raises(InvalidRequest, match=f"expected {LANE_STRINGS + 1} elements in bytes_contents for BYTES"):
        check(WIDE, request)


def test_one_request_that_cannot_be_decoded_costs_the_others_no_further_run() -> None:
    """They ran once each, apart from one another, when it came along."""
    session = FakeSession(lambda feeds: [feeds["x"][:, :1]])
    of = signature(spec("x", "BYTES", (-1, -1)), outputs=(spec("y", "BYTES", (-1, 1)),), max_rows=4)
    count = LANE_STRINGS + 1
    bad = bytes(4 * count - 4) + b"\x01\0\0\0\xff"
    jobs = [
        job(of, one_input((1, count), bad, datatype="BYTES")) if number == 1 else job(of, empty(count))
        for number in range(4)
    ]
    run_batch(session, Batch(list(jobs), 4, "drained"), new_counters())
    assert [len(run["x"]) for run in session.runs] == [3]
    assert [[type(error) for error in call_of(one).errors] for one in jobs] == [[], [InvalidRequest], [], []]
    assert [len(call_of(one).replies) for one in jobs] == [1, 0, 1, 1]


def test_a_batch_of_which_nothing_can_be_decoded_does_not_run() -> None:
    """Each is told."""
    session = FakeSession(lambda feeds: [feeds["x"]])
    count = LANE_STRINGS + 1
    jobs = [job(WIDE, typed(*[b""] * (count - 1), b"\xff")) for _ in range(2)]
    run_batch(session, Batch(list(jobs), 2, "drained"), new_counters())
    assert not session.runs
    assert [[type(error) for error in call_of(one).errors] for one in jobs] == [[InvalidRequest]] * 2


def test_parts_of_a_request_get_their_own_strings() -> None:
    """Each run those of its rows."""
    values = texts(3 * LANE_STRINGS)
    whole = job(WIDE, strings(6, LANE_STRINGS // 2, values=values))
    parts = split(whole, 4)
    arrays = [gather(part.plan.bucket.feeds[0], part.tensors, part.rows, has_batch_axis=True) for part in parts]
    assert [array.shape for array in arrays] == [(4, LANE_STRINGS // 2), (2, LANE_STRINGS // 2)]
    assert np.concatenate(arrays).ravel().tolist() == values


def test_they_join_others_in_one_run() -> None:
    """Those that were decoded when they came."""
    plan, (many,) = check(WIDE, empty(2 * LANE_STRINGS, rows=2))
    _, (few,) = check(WIDE, empty(LANE_STRINGS))
    array = gather(plan.bucket.feeds[0], (many, few), 3, has_batch_axis=True)
    assert array.shape == (3, LANE_STRINGS)
    assert not any(array.ravel())


def test_all_parts_are_decoded_once() -> None:
    """By the first that runs; then the message's bytes are let go."""
    decoder = Decoder(["a", "b", "c"])
    strings_of = LazyStringSlice(LazyStrings(decoder, memoryview(b"raw")), 0, 3)
    assert bytes(strings_of.raw or b"") == b"raw"
    assert decoder.calls == 0
    assert (strings_of[0:2].texts(), strings_of[1:3][1:2].texts(), len(strings_of[2:9])) == (["a", "b"], ["c"], 1)
    assert decoder.calls == 1
    with pytest.raises(AssertionError, match="bug: strings that were decoded"):
        _ = strings_of.raw


def test_each_part_hears_what_is_wrong() -> None:
    """So that none is taken for decoded."""
    wrong = InvalidRequest("not UTF-8", field="raw_input_contents[0]")
    strings_of = LazyStringSlice(LazyStrings(Decoder(wrong, wrong)), 0, 2)
    for part in (strings_of[0:1], strings_of[1:2]):
        with pytest.raises(InvalidRequest):
            part.texts()
