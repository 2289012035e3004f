"""How long reading a request and writing an answer take, with what they share between requests and without it."""

from __future__ import annotations

import numpy as np

from bench.micro.measuring import Measure
from bench.micro.workload import Workload
from sardonyx_server.engine.requests.outputs import BatchOutputs
from sardonyx_wire.messages import ModelInferResponse
from sardonyx_wire.protobuf_fields import EncodedMessage
from sardonyx_wire.request_reader import Decoded, RequestReader, decode_with_protobuf


def test_time_to_read_a_known_header(one: Workload, measured: Measure[Decoded]) -> None:
    """How long does it take to read a request whose header has come before?"""
    reader = RequestReader()
    reader.decode(one.message)
    _holds_the_row(one, measured(lambda: reader.decode(one.message)))


def test_time_to_read_a_new_header(one: Workload, measured: Measure[Decoded]) -> None:
    """How long does it take to read a request whose header has not come before?"""
    _holds_the_row(one, measured(lambda: RequestReader().decode(one.message)))


def test_time_to_read_with_protobuf_alone(one: Workload, measured: Measure[Decoded]) -> None:
    """How long would it take without a reader of our own?"""
    _holds_the_row(one, measured(lambda: decode_with_protobuf(one.message)))


def test_time_to_write_an_answer(one: Workload, measured: Measure[EncodedMessage]) -> None:
    """How long does it take to write an answer of shapes that have come before?"""
    plan, _ = one.checked()
    outputs = BatchOutputs(one.outputs(1), has_batch_axis=True, began_s=0.0, ran_s=0.0)
    data = outputs.rows(0, 1)
    plan.response(b"", outputs.row_shapes, data)
    _holds_the_outputs(one, measured(lambda: plan.response(b"", outputs.row_shapes, data)))


def test_time_to_write_the_first_answer_of_a_shape(one: Workload, measured: Measure[EncodedMessage]) -> None:
    """How long does it take to write an answer of shapes that have not come before?"""
    plan, _ = one.checked()
    outputs = BatchOutputs(one.outputs(1), has_batch_axis=True, began_s=0.0, ran_s=0.0)
    data = outputs.rows(0, 1)
    signature = one.signature

    def write() -> EncodedMessage:
        return signature.response_template(signature.output_heads(plan, outputs.row_shapes)).fill(b"", data)

    _holds_the_outputs(one, measured(write))


def _holds_the_row(one: Workload, decoded: Decoded) -> None:
    header, id_field, payloads = decoded
    assert header.route == (one.name, "")
    assert id_field == b""
    assert [bytes(payload) for payload in payloads] == [array.tobytes() for array in one.row.values()]


def _holds_the_outputs(one: Workload, answer: EncodedMessage) -> None:
    response = ModelInferResponse.FromString(bytes(answer))
    assert response.model_name == one.name
    for output, data, array in zip(response.outputs, response.raw_output_contents, one.outputs(1), strict=True):
        np.testing.assert_array_equal(np.frombuffer(data, array.dtype).reshape(output.shape), array)
