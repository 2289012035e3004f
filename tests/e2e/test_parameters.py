"""Parameters of requests as clients send them: priority, time-out, sequences, and the callers' own."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from tests.e2e.messages import failure_of, infer_request
from tests.e2e.servers import Server, assert_safe, eventually

X = np.ones((1, 4), np.float32)


def test_a_timeout_ends_the_wait_where_the_model_allows_it(server: Server) -> None:
    """In microseconds. The model does not run for it; a longer time-out and none at all wait on."""
    with server.holding(infer_request("timed", x=X), "timed") as hold:
        short = server.start_infer(infer_request("timed", x=X, parameters={"timeout": 1}))
        long = server.start_infer(infer_request("timed", x=X, parameters={"timeout": 3_600_000_000}))
        none = server.start_infer(infer_request("timed", x=X))
        eventually(lambda: server.model("timed").queue.rows == 3, "all wait")
        hold.release()
        with pytest.raises(grpc.RpcError) as caught:
            short.result()
        assert long.result() == none.result()
    refused = failure_of(caught.value)
    assert_safe(refused)
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert refused.reason == "QUEUE_TIMEOUT"
    server.assert_well()


@pytest.mark.parametrize("priority", [0, 1, 2, 3, 2**63])
def test_any_priority_is_taken(server: Server, priority: int) -> None:
    """One that the model does not have counts as its default, as with Triton."""
    request = infer_request("timed", x=X)
    request.parameters["priority"].uint64_param = priority
    assert server.infer(request) == server.infer(infer_request("timed", x=X))


@pytest.mark.parametrize(
    "parameters",
    [{"sequence_id": 7}, {"sequence_id": "seven"}, {"sequence_id": 0, "sequence_start": True}, {"sequence_end": True}],
)
def test_a_sequence_on_a_model_without_sequences_is_refused(
    server: Server, parameters: dict[str, bool | str | float]
) -> None:
    """Its answers would silently be those of single requests."""
    refused = server.refusal(infer_request("affine", x=X, parameters=parameters))
    assert_safe(refused)
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.message.endswith(": the model has no sequence batching; send no sequence parameters")


@pytest.mark.parametrize("of", ["inputs", "outputs"])
def test_parameters_of_tensors_that_mean_nothing_here_pass(server: Server, of: str) -> None:
    """Such as those of HTTP that a gateway passes on."""
    request = infer_request("affine", x=X, outputs=["y"])
    plain = server.infer(request)
    getattr(request, of)[0].parameters["binary_data"].bool_param = True
    assert server.infer(request) == plain


def test_tritonclient_sends_every_kind(server: Server) -> None:
    """Its arguments, and callers' own of each type that it can send."""
    triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
    utilities: Any = pytest.importorskip("tritonclient.utils")
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(X)
    with triton.InferenceServerClient(server.app.address) as client:
        plain = client.infer("timed", [x]).as_numpy("y").tolist()
        own = {"text": "t", "number": -3, "flag": True, "double": 1.5}
        result = client.infer("timed", [x], priority=1, timeout=10_000_000, parameters=own)
        assert result.as_numpy("y").tolist() == plain
        with pytest.raises(utilities.InferenceServerException, match="the model has no sequence batching") as caught:
            client.infer("timed", [x], sequence_id=42, sequence_start=True)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
