"""Large requests are cut into parts that answer their call once, in order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sardonyx_server.engine.batching.job import Job, split
from sardonyx_server.engine.requests.outputs import BatchOutputs
from sardonyx_server.engine.running.execution import gather
from sardonyx_server.engine.telemetry.failures import Failures
from sardonyx_server.errors import Cancelled, ExecutionFailed
from tests.server.engine.doubles import (
    Array,
    BrokenCall,
    FakeCall,
    call_of,
    job,
    message,
    new_counters,
    rows_of,
    signature,
    spec,
)

BOTH = signature(
    spec("x"), spec("text", "BYTES", (-1, 2)), spec("none", "INT8", (-1, 0)), outputs=(spec("y"), spec("t", "BYTES"))
)


def both(rows: int, call: FakeCall | None = None) -> Job:
    """A request with numbers, strings and rows without elements."""
    texts = np.array([[f"{row}é", ""] for row in range(rows)], object)
    return job(
        BOTH,
        message({"x": rows_of(0, rows), "text": texts, "none": np.empty((rows, 0), np.int8)}, request_id="seven"),
        call,
    )


def inputs(part: Job) -> list[Array]:
    """What the model would be given for one part alone."""
    return [
        gather(feed, (tensor,), part.rows, has_batch_axis=True)
        for feed, tensor in zip(part.plan.bucket.feeds, part.tensors, strict=True)
    ]


def outputs(*arrays: Array) -> BatchOutputs:
    """Of a run with a batch axis."""
    return BatchOutputs(arrays, has_batch_axis=True, began_s=0.0, ran_s=0.0)


def test_a_job_takes_over_the_deadline_of_its_call() -> None:
    """The value that was made once at the edge."""
    assert job(signature(), message({"x": rows_of(0, 1)}), FakeCall(deadline_s=7.5)).deadline_s == 7.5
    assert job(signature(), message({"x": rows_of(0, 1)})).deadline_s == math.inf


def test_a_job_answers_with_its_rows_of_a_run() -> None:
    """With the id, the model's name and the version that ran."""
    one = job(signature(version=3), message({"x": rows_of(0, 2)}, request_id="seven"))
    one.finish(outputs(rows_of(10, 5)), 3, new_counters())
    response = call_of(one).response
    assert (response.id, response.model_name, response.model_version) == ("seven", "m", "3")
    assert [(output.name, output.datatype, list(output.shape)) for output in response.outputs] == [
        ("y", "FP32", [2, 2])
    ]
    assert call_of(one).arrays[0].tolist() == rows_of(13, 2).tolist()


def test_a_call_that_raises_is_no_matter_of_the_job() -> None:
    """Telling an error never raises: the rest of the batch has to be told, too."""
    one = job(signature(), message({"x": rows_of(0, 1)}), BrokenCall())
    one.fail(ExecutionFailed("no"), Failures())


def test_parts_hold_the_rows_in_order() -> None:
    """Numbers, strings and empty rows; the last part is what is left."""
    parts = split(both(7), 3)
    assert [part.rows for part in parts] == [3, 3, 1]
    joined = [np.concatenate(arrays) for arrays in zip(*(inputs(part) for part in parts), strict=True)]
    assert joined[0].tolist() == rows_of(0, 7).tolist()
    assert joined[1].tolist() == [[f"{row}é", ""] for row in range(7)]
    assert joined[2].shape == (7, 0)


def test_parts_of_numbers_are_views_of_the_message() -> None:
    """Batcher copies nothing."""
    parts = split(both(4), 2)
    assert all(isinstance(part.tensors[0], memoryview) for part in parts)


def test_the_message_is_accounted_for_until_its_last_part_is_taken() -> None:
    """Once, for it stays in memory as long as one part waits."""
    whole = both(7)
    assert [part.message_bytes for part in split(whole, 3)] == [0, 0, whole.message_bytes]


def test_a_request_has_left_the_queue_with_its_last_part() -> None:
    """Limits count requests, not parts."""
    assert both(7).requests == 1
    assert [part.requests for part in split(both(7), 3)] == [0, 0, 1]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_parts_answer_once_in_the_order_of_the_rows_whoever_ends_first(order: tuple[int, ...]) -> None:
    """Runners end in any order."""
    call = FakeCall()
    parts = split(both(7, call), 3)
    for index in order:
        assert call.answers == 0
        x, text, _ = inputs(parts[index])
        parts[index].finish(outputs(x * 2, text), 0, new_counters())
    assert call.response.id == "seven"
    doubled, texts = call.arrays
    assert doubled.tolist() == (rows_of(0, 7) * 2).tolist()
    assert [[each.decode() for each in row] for row in texts] == [[f"{row}é", ""] for row in range(7)]


def test_parts_take_their_rows_of_a_shared_run() -> None:
    """The last part may have joined with others."""
    call = FakeCall()
    first, last = split(job(signature(), message({"x": rows_of(0, 3)}), call), 2)
    first.finish(outputs(rows_of(0, 2)), 0, new_counters())
    last.finish(outputs(rows_of(-5, 8)), 7, new_counters())
    assert call.arrays[0].tolist() == rows_of(0, 3).tolist()


def test_a_part_that_fails_fails_the_whole_once() -> None:
    """With the first error; what the others bring is dropped."""
    call, error = FakeCall(), ExecutionFailed("no")
    first, second, third = split(both(7, call), 3)
    second.fail(error, Failures())
    third.fail(ExecutionFailed("again"), Failures())
    first.finish(outputs(*inputs(first)[:2]), 0, new_counters())
    assert call.error is error


def test_parts_of_a_failed_whole_count_as_cancelled() -> None:
    """So that the queue drops them, and the model does not run in vain."""
    call = FakeCall()
    first, second = split(job(signature(), message({"x": rows_of(0, 4)}), call), 2)
    cancelled = [second.call.cancelled]
    first.fail(ExecutionFailed("no"), Failures())
    cancelled.append(second.call.cancelled)
    assert cancelled == [False, True]
    second.fail(Cancelled("dropped"), Failures())
    assert call.answers == 1


def test_parts_count_as_cancelled_when_their_caller_goes() -> None:
    """And keep its deadline."""
    call = FakeCall(deadline_s=9.0)
    parts = split(job(signature(), message({"x": rows_of(0, 4)}), call), 2)
    assert [part.deadline_s for part in parts] == [9.0, 9.0]
    call.cancelled = True
    assert all(part.call.cancelled for part in parts)


@pytest.mark.parametrize("odd", range(3))
def test_parts_whose_outputs_differ_in_shape_are_an_error_told_once(odd: int) -> None:
    """They cannot be one tensor. Whichever part it is, and although the others go on to come in."""
    call = FakeCall()
    one = signature(outputs=(spec("y", shape=(-1, -1)),))
    for index, part in enumerate(split(job(one, message({"x": rows_of(0, 6)}), call), 2)):
        part.finish(outputs(np.zeros((2, 3 if index == odd else 2), np.float32)), 0, new_counters())
    assert isinstance(call.error, ExecutionFailed)
    assert call.error.message == (
        "model 'm': the request has more rows than a batch may have and its parts gave outputs of different shapes; "
        "send fewer rows at a time"
    )


def test_a_part_of_a_run_without_rows_asked_for_answers_no_other_way() -> None:
    """Impossible states say that they are a bug."""
    (first, _) = split(job(signature(), message({"x": rows_of(0, 2)})), 1)
    with pytest.raises(AssertionError, match=r"^bug: a part answers through add\(\)$"):
        first.call.reply(b"")
