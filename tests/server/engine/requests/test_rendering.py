"""Outputs that are not simply sent: classes of them, or a place in shared memory."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from sardonyx_server.engine.batching.job import split
from sardonyx_server.engine.requests.outputs import BatchOutputs
from sardonyx_server.engine.shared_memory.region import DeferredRead, SystemRegion
from sardonyx_server.engine.shared_memory.regions import Regions
from sardonyx_server.engine.telemetry.failures import Failures
from sardonyx_server.errors import InvalidRequest, NotFound
from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.tensors import decode_bytes_elements, encode_bytes_elements
from tests.server.engine.doubles import (
    Array,
    FakeCall,
    call_of,
    check,
    job,
    message,
    new_counters,
    rows_of,
    signature,
    spec,
)
from tests.server.engine.regions import FakeMemory, NoCuda, some_regions

LABELLED = signature(outputs=(spec("y", labels=("no", "yes")), spec("t", "BYTES", (-1,)), spec("z", "INT64", (-1, 3))))


def request(rows: int = 1, **of_outputs: Any) -> ModelInferRequest:
    """A request for some outputs, each with its class count, its (region, size, offset), or nothing."""
    made = message({"x": rows_of(0, rows)}, request_id="seven", outputs=list(of_outputs))
    for output, wish in zip(made.outputs, of_outputs.values(), strict=True):
        if isinstance(wish, int):
            output.parameters["classification"].int64_param = wish
        elif wish is not None:
            region, size, offset = wish
            output.parameters["shared_memory_region"].string_param = region
            output.parameters["shared_memory_byte_size"].int64_param = size
            output.parameters["shared_memory_offset"].int64_param = offset
    return made


def outputs(*arrays: Array) -> BatchOutputs:
    """Of a run with a batch axis."""
    return BatchOutputs(arrays, has_batch_axis=True, began_s=0.0, ran_s=0.0)


def test_classes_of_one_output_and_values_of_another() -> None:
    """BYTES [rows, k], with the labels; the order is that of the request."""
    one = job(LABELLED, request(2, z=None, y=1))
    one.finish(outputs(np.ones((3, 3), np.int64), np.array([[9, 9], [1, 2], [4, 3]], np.float32)), 1, new_counters())
    response = call_of(one).response
    assert response.id == "seven"
    assert [(output.name, output.datatype, list(output.shape)) for output in response.outputs] == [
        ("z", "INT64", [2, 3]),
        ("y", "BYTES", [2, 1]),
    ]
    assert call_of(one).arrays[1].tolist() == [[b"2.000000:1:yes"], [b"4.000000:0:no"]]


def test_classes_without_a_batch_axis_have_no_batch_dimension() -> None:
    """As Triton answers for max_batch_size 0."""
    of = signature(outputs=(spec("y", shape=(-1, 2)),), has_batch_axis=False)
    one = job(of, request(1, y=3))
    one.finish(
        BatchOutputs([np.array([[1, 3], [2, 0]], np.float32)], has_batch_axis=False, began_s=0.0, ran_s=0.0),
        0,
        new_counters(),
    )
    (output,) = call_of(one).response.outputs
    assert list(output.shape) == [3]
    assert call_of(one).arrays[0].tolist() == [b"3.000000:1", b"2.000000:2", b"1.000000:0"]


def test_how_outputs_are_rendered_is_no_matter_of_the_batch() -> None:
    """Requests with any class count, with a place or with nothing join."""
    find_region = some_regions(r=bytes(8)).find
    buckets = {check(LABELLED, request(1, y=wish), find_region)[0].bucket for wish in (None, 1, 2, ("r", 8, 0))}
    assert len(buckets) == 1


def test_a_request_without_wishes_has_no_rendering() -> None:
    """One attribute tells, and no more is looked at."""
    assert check(LABELLED, request(1, y=None))[0].rendering is None
    assert check(LABELLED, request(1))[0].rendering is None


def test_an_output_goes_to_its_place() -> None:
    """Its raw entry is empty, and its parameters say where it is and how large it became."""
    regions = some_regions(r=b"-" * 20)
    one = job(LABELLED, request(1, y=("r", 16, 4), z=None), find_region=regions.find)
    one.finish(outputs(rows_of(5, 1), np.ones((1, 3), np.int64)), 0, new_counters())
    response = call_of(one).response
    assert [len(raw) for raw in response.raw_output_contents] == [0, 24]
    output = response.outputs[0]
    assert (output.datatype, list(output.shape)) == ("FP32", [1, 2])
    assert output.parameters["shared_memory_region"].string_param == "r"
    assert output.parameters["shared_memory_byte_size"].int64_param == 8
    assert output.parameters["shared_memory_offset"].int64_param == 4
    assert not response.outputs[1].parameters
    assert bytes(DeferredRead(regions.find("r").memory, 0, 20).copy()) == b"----" + rows_of(5, 1).tobytes() + b"-" * 8


def test_strings_go_to_their_place_too() -> None:
    """A length and the bytes of each."""
    regions = some_regions(r=b"-" * 20)
    one = job(LABELLED, request(2, t=("r", 20, 0)), find_region=regions.find)
    one.finish(outputs(np.array(["é", ""], object)), 0, new_counters())
    assert bytes(DeferredRead(regions.find("r").memory, 0, 10).copy()) == encode_bytes_elements(["é", ""])
    assert call_of(one).response.outputs[0].parameters["shared_memory_byte_size"].int64_param == 10


def test_an_output_that_is_larger_than_its_place_is_an_error_and_nothing_is_written() -> None:
    """Not to the places of the other outputs either."""
    regions = some_regions(r=b"-" * 40)
    one = job(LABELLED, request(1, z=("r", 24, 0), y=("r", 7, 24)), find_region=regions.find)
    with pytest.raises(InvalidRequest) as caught:
        one.finish(outputs(np.ones((1, 3), np.int64), rows_of(5, 1)), 0, new_counters())
    assert caught.value.message == (
        "output 'y' of model 'm' takes 8 bytes, but its place in shared memory region 'r' has 7: ask for a larger "
        "'shared_memory_byte_size'"
    )
    assert caught.value.field == "outputs[1].parameters[shared_memory_byte_size]"
    assert bytes(DeferredRead(regions.find("r").memory, 0, 40).copy()) == b"-" * 40


@pytest.mark.parametrize("wish", [("r", 9, 0), ("r", 1, 8), ("r", 8, 2**62), ("r", 2**62, 2**62)])
def test_a_place_beyond_the_region_is_refused_before_the_model_runs(wish: tuple[str, int, int]) -> None:
    """Numbers of any size."""
    with pytest.raises(InvalidRequest) as caught:
        check(LABELLED, request(1, y=wish), some_regions(r=bytes(8)).find)
    assert caught.value.message == (
        f"shared memory region 'r' has 8 bytes: {wish[1]} bytes at offset {wish[2]} go beyond its end"
    )


def test_an_unknown_region_is_refused_before_the_model_runs() -> None:
    """By the name that the caller gave."""
    with pytest.raises(NotFound, match=r"^unknown shared memory region 's': register it first$"):
        check(LABELLED, request(1, y=("s", 8, 0)), some_regions(r=bytes(8)).find)


def test_classes_in_shared_memory_are_refused() -> None:
    """As Triton does."""
    made = request(1, y=("r", 8, 0))
    made.outputs[0].parameters["classification"].int64_param = 1
    with pytest.raises(InvalidRequest) as caught:
        check(LABELLED, made)
    assert caught.value.message == (
        "output 'y' of model 'm' cannot have both 'classification' and 'shared_memory_region': take the classes in "
        "the message, or the values in shared memory"
    )


def test_a_region_that_is_unregistered_in_flight_is_kept_until_the_answer() -> None:
    """And let go then."""
    regions = Regions(allowed=True, open_system=lambda *_: FakeMemory(bytes(8)), cuda=NoCuda())
    regions.register_system("r", key="/r", offset=0, byte_size=8)
    memory = weakref.ref(regions.find("r").memory)
    one = job(LABELLED, request(1, y=("r", 8, 0)), find_region=regions.find)
    regions.unregister(SystemRegion, "r")
    one.finish(outputs(rows_of(5, 1)), 0, new_counters())
    kept = memory()
    assert kept is not None
    assert bytes(DeferredRead(kept, 0, 8).copy()) == rows_of(5, 1).tobytes()
    del one, kept
    gc.collect()
    assert memory() is None


def test_a_split_request_is_rendered_once_it_is_whole() -> None:
    """Parts that finish in any order, one output as classes and one in its place."""
    regions = some_regions(r=bytes(5 * 24))
    call = FakeCall()
    parts = split(job(LABELLED, request(5, y=1, z=("r", 120, 0)), call, regions.find), 2)
    whole = np.arange(15).reshape(5, 3)
    for start, part in reversed(list(zip((0, 2, 4), parts, strict=True))):
        rows = slice(start, start + part.rows)
        part.finish(outputs(rows_of(0, 5)[rows], whole[rows]), 0, new_counters())
    assert [list(output.shape) for output in call.response.outputs] == [[5, 1], [5, 3]]
    texts = decode_bytes_elements(call.response.raw_output_contents[0], 5)
    assert texts == [f"{row:f}:0:no".encode() for row in range(5)]
    assert np.frombuffer(bytes(DeferredRead(regions.find("r").memory, 0, 120).copy()), np.int64).tolist() == list(
        range(15)
    )


def test_a_split_request_whose_output_does_not_fit_fails_once() -> None:
    """The last part finds out, and its failure is the whole's."""
    regions = some_regions(r=bytes(48))
    call = FakeCall()
    parts = split(job(LABELLED, request(2, z=("r", 47, 0)), call, regions.find), 1)
    parts[0].finish(outputs(np.ones((1, 3), np.int64)), 0, new_counters())
    with pytest.raises(InvalidRequest, match=r"takes 48 bytes, but its place .* has 47") as caught:
        parts[1].finish(outputs(np.ones((1, 3), np.int64)), 0, new_counters())
    parts[1].fail(caught.value, Failures())
    assert call.error is caught.value


WIDE = 8192


class TestOutputRegion:
    """One region for all large outputs of a request, whichever they are."""

    SIGNATURE = signature(
        outputs=(spec("y", "FP32", (-1, WIDE)), spec("z", "INT64", (-1, 3)), spec("t", "BYTES", (-1,)))
    )

    def answer(self, region_bytes: int, rows: int = 1, **of_outputs: Any) -> tuple[FakeCall, Any]:
        """Of a request with a region of so many bytes; and what lies in the region then."""
        regions = some_regions(r=bytes(region_bytes))
        made = request(rows, **of_outputs)
        made.parameters["sardonyx_output_region"].string_param = "r"
        one = job(self.SIGNATURE, made, find_region=regions.find)
        y = np.arange(rows * WIDE, dtype=np.float32).reshape(rows, WIDE)
        texts = np.array(["x" * 2 * WIDE * 4] * rows, object)
        by_name: dict[str, Array] = {"y": y, "z": np.ones((rows, 3), np.int64), "t": texts}
        one.finish(outputs(*(by_name[name] for name in one.plan.bucket.output_names)), 0, new_counters())
        return call_of(one), bytes(DeferredRead(regions.find("r").memory, 0, region_bytes).copy())

    def test_large_outputs_lie_there_and_small_ones_are_sent(self) -> None:
        """One behind the other, each where the answer says; text too."""
        call, memory = self.answer(200_000)
        y, z, t = call.response.outputs
        text = encode_bytes_elements(["x" * 2 * WIDE * 4])
        assert [len(raw) for raw in call.response.raw_output_contents] == [0, 24, 0]
        assert not z.parameters
        assert [output.parameters["shared_memory_offset"].int64_param for output in (y, t)] == [0, 4 * WIDE]
        assert [output.parameters["shared_memory_byte_size"].int64_param for output in (y, t)] == [4 * WIDE, len(text)]
        assert memory[: 4 * WIDE] == np.arange(WIDE, dtype=np.float32).tobytes()
        assert memory[4 * WIDE : 4 * WIDE + len(text)] == text

    @pytest.mark.parametrize("region_bytes", [1, 4 * WIDE - 1])
    def test_what_does_not_fit_is_sent(self, region_bytes: int) -> None:
        """No error, and nothing is written."""
        call, memory = self.answer(region_bytes)
        assert len(call.response.raw_output_contents[0]) == 4 * WIDE
        assert memory == bytes(region_bytes)

    def test_outputs_can_be_chosen_beside_it(self) -> None:
        """In any order; a place of an output's own, or classes, come first."""
        call, memory = self.answer(200_000, z=2, y=None)
        assert [output.name for output in call.response.outputs] == ["z", "y"]
        assert list(call.response.outputs[0].shape) == [1, 2]
        assert memory[: 4 * WIDE] == np.arange(WIDE, dtype=np.float32).tobytes()

    def test_a_region_that_nobody_registered_is_refused(self) -> None:
        """Before the model runs."""
        made = request()
        made.parameters["sardonyx_output_region"].string_param = "s"
        with pytest.raises(NotFound, match=r"^unknown shared memory region 's': register it first$"):
            check(self.SIGNATURE, made, some_regions(r=bytes(8)).find)

    def test_its_name_is_text(self) -> None:
        """And nothing else."""
        made = request()
        made.parameters["sardonyx_output_region"].int64_param = 1
        with pytest.raises(InvalidRequest) as caught:
            check(self.SIGNATURE, made)
        assert caught.value.message == "parameter 'sardonyx_output_region': expected the name of a region, got int"
