"""Inputs that lie in regions of clients. What was sent in messages is in test_signature.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sardonyx_server.engine.requests.input_decoding import deferred_refs, read_region_refs, read_tensors
from sardonyx_server.engine.requests.lazy_strings import LazyStringSlice
from sardonyx_server.engine.requests.parameters import RegionRef
from sardonyx_server.engine.requests.plan import Tensor
from sardonyx_server.engine.shared_memory.region import DeferredRead
from sardonyx_server.errors import Forbidden, InvalidRequest, NotFound
from sardonyx_wire.messages import ModelInferRequest
from tests.server.engine.doubles import check, decode, message, rows_of, signature, spec
from tests.server.engine.regions import some_regions

MIXED = signature(spec("x"), spec("t", "BYTES", (-1,)), spec("b", "BOOL", (-1, 3)))


def mixed() -> ModelInferRequest:
    """Numbers, text and truth values."""
    texts = np.array(["é", "x\0y"], object)
    return message({"x": rows_of(0, 2), "t": texts, "b": np.ones((2, 3), bool)})


def sent(data: bytes) -> ModelInferRequest:
    """A request whose one input travels in the message."""
    request = ModelInferRequest(model_name="m", raw_input_contents=[data])
    request.inputs.add(name="x", datatype="FP32", shape=(1, 2))
    return request


def placed(byte_size: int = 8, offset: int | None = None, region: str = "r") -> ModelInferRequest:
    """A request whose one input lies in shared memory."""
    request = ModelInferRequest(model_name="m")
    given = request.inputs.add(name="x", datatype="FP32", shape=(1, 2))
    given.parameters["shared_memory_region"].string_param = region
    given.parameters["shared_memory_byte_size"].int64_param = byte_size
    if offset is not None:
        given.parameters["shared_memory_offset"].int64_param = offset
    return request


def read(tensor: Tensor) -> bytes:
    """Its bytes as they are now."""
    assert not isinstance(tensor, list | LazyStringSlice)
    return bytes(tensor.copy() if isinstance(tensor, DeferredRead) else tensor)


def test_an_input_is_read_where_it_lies_and_needs_no_raw_entry() -> None:
    """When the model runs, and not before."""
    regions = some_regions(r=b"----" + rows_of(5, 1).tobytes())
    plan, tensors = check(signature(), placed(offset=4), regions.find)
    memory: Any = regions.find("r").memory
    assert memory.deferred_refs == 0
    assert [read(each) for each in tensors] == [rows_of(5, 1).tobytes()]
    assert plan.region_bytes == 8
    regions.find("r").memory.write(0, bytes(12))
    assert [read(each) for each in tensors] == [bytes(8)]


def plain(request: ModelInferRequest) -> tuple[RegionRef, ...]:
    """What is concluded of its places, in the order of its own inputs."""
    inputs = decode(request)[0].inputs
    return deferred_refs(inputs, read_region_refs(inputs, "m"), range(len(inputs)))


def test_places_that_are_plain_are_concluded_once() -> None:
    """They give the same as a look at each tensor, in the order of the model's inputs."""
    both = signature(spec("x"), spec("w"))
    request = ModelInferRequest(model_name="m")
    for name, offset in (("w", 8), ("x", 0)):
        given = request.inputs.add(name=name, datatype="FP32", shape=(1, 2))
        given.parameters["shared_memory_region"].string_param = "r"
        given.parameters["shared_memory_byte_size"].int64_param = 8
        given.parameters["shared_memory_offset"].int64_param = offset
    find_region = some_regions(r=rows_of(1, 2).tobytes()).find
    header, _, payloads = decode(request)
    plan, tensors = both.check(header, payloads, find_region)
    assert [place.offset for place in plan.deferred_refs] == [0, 8]
    slowly = read_tensors(header, payloads, plan, find_region)
    expected = [rows_of(1, 1).tobytes(), rows_of(2, 1).tobytes()]
    assert [read(each) for each in tensors] == [read(each) for each in slowly] == expected


def test_places_that_need_a_look_are_not() -> None:
    """Another size than the shape's, or an input that was sent beside them."""
    assert not plain(placed(byte_size=100))
    assert not plain(sent(bytes(8)))
    mixture = placed()
    mixture.inputs.add(name="w", datatype="FP32", shape=(1, 2))
    assert not plain(mixture)
    for datatype in ("BOOL", "BYTES"):
        request = placed()
        request.inputs[0].datatype = datatype
        assert not plain(request)


def test_each_request_finds_the_region_anew() -> None:
    """The plan is shared, and a region may be registered again under its name."""
    of = signature()
    header, _, payloads = decode(placed())
    for start in range(2):
        find_region = some_regions(r=rows_of(start, 1).tobytes()).find
        _, tensors = of.check(header, payloads, find_region)
        assert [read(each) for each in tensors] == [rows_of(start, 1).tobytes()]


def test_raw_entries_belong_to_the_other_inputs_in_order() -> None:
    """Numbers, text and a BOOL that is neither 0 nor 1, some here and some there."""
    request = mixed()
    texts = request.raw_input_contents[1]
    del request.raw_input_contents[1]
    request.inputs[1].parameters["shared_memory_region"].string_param = "t"
    request.inputs[1].parameters["shared_memory_byte_size"].int64_param = len(texts)
    _, tensors = check(MIXED, request, some_regions(t=texts).find)
    _, expected = check(MIXED, mixed())
    assert [one if isinstance(one, list) else read(one) for one in tensors] == [
        one if isinstance(one, list) else read(one) for one in expected
    ]
    booleans = request.raw_input_contents.pop()
    request.inputs[2].parameters["shared_memory_region"].string_param = "b"
    request.inputs[2].parameters["shared_memory_byte_size"].int64_param = len(booleans)
    _, tensors = check(MIXED, request, some_regions(t=texts, b=b"\x07" * len(booleans)).find)
    assert tensors[2] == b"\1" * len(booleans)


def test_a_request_in_shared_memory_joins_one_that_was_sent() -> None:
    """Where the data lie is no matter of the batch."""
    of = signature()
    here, _ = check(of, placed(), some_regions(r=bytes(8)).find)
    there, _ = check(of, sent(bytes(8)))
    assert here.bucket is there.bucket


def test_the_size_is_held_against_the_shape_before_the_region_is_read() -> None:
    """A caller may ask for gigabytes."""
    regions = some_regions(r=bytes(100))
    with pytest.raises(InvalidRequest) as caught:
        check(signature(), placed(byte_size=100), regions.find)
    assert caught.value.message == (
        "data of input 'x' of model 'm': expected 'shared_memory_byte_size' 8 for FP32 [1,2], got 100"
    )
    assert caught.value.field == "inputs[0].parameters[shared_memory_byte_size]"
    memory: Any = regions.find("r").memory
    assert memory.deferred_refs == 0


def test_a_raw_entry_for_an_input_in_shared_memory_is_one_too_many() -> None:
    """It belongs to nobody."""
    request = placed()
    request.raw_input_contents.append(bytes(8))
    with pytest.raises(InvalidRequest) as caught:
        check(signature(), request, some_regions(r=bytes(8)).find)
    assert caught.value.message == (
        "raw_input_contents of the request to model 'm': expected 0 entries, one for each input without typed "
        "contents or a place in shared memory, got 1"
    )


def test_typed_contents_beside_shared_memory_are_refused() -> None:
    """Which of them would count?"""
    request = placed()
    request.inputs[0].contents.fp32_contents.extend([1, 2])
    with pytest.raises(InvalidRequest) as caught:
        check(signature(), request)
    assert caught.value.message == (
        "input 'x' of model 'm' is in shared memory and has typed contents too: send one of them"
    )


def test_an_input_cannot_be_classified() -> None:
    """The parameter is one of outputs."""
    request = sent(bytes(8))
    request.inputs[0].parameters["classification"].int64_param = 1
    with pytest.raises(InvalidRequest) as caught:
        check(signature(), request)
    assert caught.value.message == (
        "parameter 'classification' of input 'x' of model 'm': only outputs can be classified"
    )


def test_what_is_off_says_how_it_is_allowed() -> None:
    """Without a word about regions."""
    with pytest.raises(Forbidden) as caught:
        check(signature(), placed())
    assert caught.value.message == (
        "shared memory of clients is off on this server: its operator can allow it with --allow-client-shm true; until "
        "then send tensors in raw_input_contents and take them from raw_output_contents"
    )


def test_a_region_that_nobody_registered_is_not_found() -> None:
    """The caller's own name is all that is shown."""
    with pytest.raises(NotFound) as caught:
        check(signature(), placed(region="s"), some_regions(r=bytes(8)).find)
    assert caught.value.message == "unknown shared memory region 's': register it first"
