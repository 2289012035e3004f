"""Dims and reshape of config.pbtxt over a socket: what callers see, what the graph gets, what is refused."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from sardonyx_server.repository.spec import ModelSpec
from sardonyx_wire.messages import ModelConfigRequest, ModelInferResponse, ModelMetadataRequest
from tests.e2e.messages import arrays_of, infer_request
from tests.e2e.servers import Server, assert_safe


def shapes(server: Server, model: str) -> tuple[list[list[int]], list[list[int]]]:
    """Shapes of inputs and outputs in the metadata."""
    found = server.call("ModelMetadata", ModelMetadataRequest(name=model))
    return [list(each.shape) for each in found.inputs], [list(each.shape) for each in found.outputs]


def y_of(response: ModelInferResponse) -> Any:
    """The only output."""
    return arrays_of(response)["y"]


def test_rows_of_one_number_reach_a_graph_that_takes_a_vector(configured: Server) -> None:
    """``dims: [1] reshape { shape: [] }``, the batch axis being all there is; also where a request is split."""
    assert shapes(configured, "flat_rows") == ([[-1, 1]], [[-1, 1]])
    for rows in (1, 3, 8, 21):
        x = np.arange(rows, dtype=np.float32).reshape(rows, 1) / 7
        y = y_of(configured.infer(infer_request("flat_rows", x=x)))
        assert (y.shape, y.tobytes()) == ((rows, 1), x.tobytes())
    failure = configured.refusal(infer_request("flat_rows", x=np.zeros(3, np.float32)))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.message == "input 'x' of model 'flat_rows': expected FP32 [-1,1], got FP32 [3]"


def test_rows_that_wait_together_share_a_run_in_the_graphs_form(configured: Server) -> None:
    """The bucket is that of the graph's side."""
    first = np.ones((1, 1), np.float32)
    with configured.holding(infer_request("flat_rows", x=first), model="flat_rows") as hold:
        calls = [configured.start_infer(infer_request("flat_rows", x=first * k)) for k in range(4)]
        hold.release()
        answers = [y_of(ModelInferResponse.FromString(call.result())).tolist() for call in calls]
    assert answers == [[[float(k)]] for k in range(4)]
    configured.settle()


def test_strings_are_reshaped_too(configured: Server) -> None:
    """Elements keep their order; input and output may differ in rank."""
    words = np.array([["é"], ["two"], [""]], object).reshape(3, 1, 1)
    y = y_of(configured.infer(infer_request("flat_words", x=words)))
    assert (y.shape, [word.decode() for word in y.ravel()]) == ((3, 1), ["é", "two", ""])


def test_a_scalar_travels_as_a_vector(configured: Server) -> None:
    """Without a batch axis the reshape is of the whole tensor."""
    assert shapes(configured, "scalar_as_vector") == ([[1]], [[1, 1]])
    y = y_of(configured.infer(infer_request("scalar_as_vector", x=np.array([2.5], np.float32))))
    assert y.tolist() == [[2.5]]
    failure = configured.refusal(infer_request("scalar_as_vector", x=np.array(2.5, np.float32)))
    assert failure.message == "input 'x' of model 'scalar_as_vector': expected FP32 [1], got FP32 []"


@pytest.mark.parametrize("length", [0, 1, 5])
def test_open_axes_keep_their_sizes(configured: Server, length: int) -> None:
    """From [2,4,-1,3] to [8,-1,3] and back as [8,-1,1,3]: the graph sees its own form, which its answer shows."""
    assert shapes(configured, "open_axes") == ([[-1, 2, 4, -1, 3]], [[-1, 8, -1, 1, 3]])
    x = np.arange(2 * 8 * length * 3, dtype=np.float32).reshape(2, 2, 4, length, 3)
    y = y_of(configured.infer(infer_request("open_axes", x=x)))
    assert y.shape == (2, 8, length, 1, 3)
    assert y.ravel().tolist() == (x.ravel() + length).tolist()


def test_an_output_that_cannot_be_reshaped_is_an_error_of_the_model(configured: Server) -> None:
    """The config says width 2; for width 3 the answer names both."""
    good = y_of(configured.infer(infer_request("broken_promise", x=np.ones((1, 2), np.float32))))
    assert good.shape == (1, 2, 1)
    failure = configured.refusal(infer_request("broken_promise", x=np.ones((1, 3), np.float32)))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "EXECUTION_FAILED"
    assert failure.message == (
        "model 'broken_promise' gave output 'y' of shape [-1,3], but its config.pbtxt says [-1,2] and reshapes that to "
        "[-1,2,1]; correct the config"
    )
    assert_safe(failure)
    configured.assert_well()


def test_dims_narrow_what_is_taken(configured: Server) -> None:
    """The graph would take any; the operator's word is enforced, and shown."""
    assert shapes(configured, "narrowed") == ([[-1, 2, -1]], [[-1, 2, -1]])
    x = np.ones((3, 2, 4), np.float32)
    assert y_of(configured.infer(infer_request("narrowed", x=x))).shape == (3, 2, 4)
    failure = configured.refusal(infer_request("narrowed", x=np.ones((3, 4, 2), np.float32)))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.message == "input 'x' of model 'narrowed': expected FP32 [-1,2,-1], got FP32 [3,4,2]"
    assert failure.fields == ["inputs[0].shape"]


def test_dims_tell_what_the_graph_leaves_undeclared(configured: Server) -> None:
    """And then they hold."""
    assert shapes(configured, "told_shape")[0] == [[-1, 3]]
    assert y_of(configured.infer(infer_request("told_shape", x=np.ones((2, 3), np.float32)))).shape == (2, 3)
    failure = configured.refusal(infer_request("told_shape", x=np.ones((3, 2), np.float32)))
    assert failure.message == "input 'x' of model 'told_shape': expected FP32 [-1,3], got FP32 [3,2]"


def test_the_config_shows_dims_and_reshape_as_written(configured: Server) -> None:
    """And no warning says that they have no effect."""
    config = configured.call("ModelConfig", ModelConfigRequest(name="open_axes")).config
    assert (list(config.input[0].dims), list(config.input[0].reshape.shape)) == ([2, 4, -1, 3], [8, -1, 3])
    spec = configured.app._desired_models.scan()["open_axes"]
    assert isinstance(spec, ModelSpec)
    assert spec.warnings == ()


def test_an_input_that_is_not_optional_must_be_sent(configured: Server) -> None:
    """The graph has a default, but the config names the input without ``optional``."""
    x = np.array([1, 2], np.float32)
    given = y_of(configured.infer(infer_request("demanded", x=x, bias=np.array([5, 5], np.float32))))
    assert given.tolist() == [6, 7]
    failure = configured.refusal(infer_request("demanded", x=x))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.message == "input 'bias' of model 'demanded' is missing: expected FP32 [2]"
