"""Requests that run together: each caller gets what it gets alone, and only the guilty one fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from sardonyx_wire.messages import ModelInferResponse
from tests.e2e.messages import arrays_of, failure_of, gate_request, infer_request
from tests.e2e.models import GATE_TABLE, MAX_ROWS
from tests.e2e.servers import Server, assert_safe, eventually

if TYPE_CHECKING:
    from numpy.typing import NDArray

AFFINE = np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32)


def waits(server: Server, rows: int) -> None:
    """Wait until so many rows are in the queue of ``gate``."""
    eventually(lambda: server.model("gate").queue.rows == rows, f"{rows} rows wait")


def y_of(answer: bytes) -> NDArray[np.float32]:
    """The output of ``gate``."""
    return arrays_of(ModelInferResponse.FromString(answer))["y"]


def test_requests_that_wait_run_together_and_each_gets_its_own_rows(server: Server) -> None:
    """All that came while the model was busy; ids and rows are not mixed up."""
    alone = [server.infer(gate_request([[k, k / 3]], index=k % 3, request_id=str(k))) for k in range(6)]
    with server.holding(gate_request()) as hold:
        calls = [server.start_infer(gate_request([[k, k / 3]], index=k % 3, request_id=str(k))) for k in range(6)]
        waits(server, 6)
        before = server.runs("gate")
        hold.release()
        together = [ModelInferResponse.FromString(call.result()) for call in calls]
    assert together == alone
    # The one that was held, and those for the six.
    eventually(lambda: server.runs("gate") == before + 1 + server.runs_of("gate", 6), "no more runs than it takes")
    server.settle()


def test_only_the_guilty_request_of_a_batch_fails(server: Server) -> None:
    """A look-up out of range makes the whole run raise; then each runs alone."""
    with server.holding(gate_request()) as hold:
        good = [server.start_infer(gate_request([[k, 0]], index=k)) for k in range(2)]
        guilty = server.start_infer(gate_request([[9, 9]], index=99))
        more = server.start_infer(gate_request([[5, 0]], index=2))
        waits(server, 4)
        hold.release()
        answers = [y_of(call.result()) for call in (*good, more)]
        with pytest.raises(grpc.RpcError) as caught:
            guilty.result()
    failure = failure_of(caught.value)
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "EXECUTION_FAILED"
    assert failure.message.startswith("model 'gate' failed while it ran: operator Gather: ")
    assert "99" in failure.message
    assert_safe(failure)
    for k, y in enumerate(answers):
        np.testing.assert_array_equal(y, [[(0, 1, 5)[k] + GATE_TABLE[k], GATE_TABLE[k]]])
    server.assert_well()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_and_do_not_touch_neighbours(server: Server, odd: float) -> None:
    """They are numbers like any other."""
    neighbour = gate_request([[0.1, -7.25]], index=1)
    alone = server.infer(neighbour)
    with server.holding(gate_request()) as hold:
        first = server.start_infer(neighbour)
        strange = server.start_infer(gate_request([[odd, 1.0]]))
        last = server.start_infer(neighbour)
        waits(server, 3)
        hold.release()
        np.testing.assert_array_equal(y_of(strange.result()), [[odd, 1.5]])
        for call in (first, last):
            assert ModelInferResponse.FromString(call.result()) == alone
    server.assert_well()


@pytest.mark.parametrize("rows", [MAX_ROWS, MAX_ROWS + 1, 40])
def test_a_request_above_the_maximum_is_split_and_put_together_in_order(server: Server, rows: int) -> None:
    """Bit for bit what its rows give one by one."""
    whole = arrays_of(server.infer(infer_request("affine", x=AFFINE[:rows])))["y"]
    single = [arrays_of(server.infer(infer_request("affine", x=AFFINE[k : k + 1])))["y"] for k in range(rows)]
    assert whole.tobytes() == np.concatenate(single).tobytes()
    server.settle()


def test_strings_of_a_split_request_stay_in_order(server: Server) -> None:
    """Elements, not bytes, are counted."""
    x = np.array([[f"{row}-{column}" * (row % 3) for column in range(3)] for row in range(21)], object)
    answer = arrays_of(server.infer(infer_request("identity_bytes", x=x)))["y"]
    assert [element.decode() for element in answer.ravel()] == x.ravel().tolist()


def test_a_guilty_part_fails_the_whole_request_once(server: Server) -> None:
    """Rows 0 to 7 run, row 12 does not exist in the table."""
    index = np.zeros((20, 1), np.int64)
    index[12] = 50
    request = infer_request("gate", x=np.zeros((20, 2), np.float32), index=index, trips=np.zeros((20, 1), np.int64))
    failure = server.refusal(request)
    assert failure.code is grpc.StatusCode.INTERNAL
    assert_safe(failure)
    server.assert_well()


def test_a_model_that_mixes_rows_is_never_batched(server: Server) -> None:
    """Softmax over the batch axis: the probe saw it, and each request runs alone as it came."""
    assert server.model("mixes").config.max_batch_size == 0
    x = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    expected = np.exp(x) / np.exp(x).sum(axis=0)
    calls = [server.start_infer(infer_request("mixes", x=x)) for _ in range(10)]
    for call in calls:
        np.testing.assert_allclose(y_of(call.result()), expected, rtol=1e-6)
    server.settle()


def test_requests_of_other_forms_wait_in_their_own_bucket(server: Server) -> None:
    """Width 2 and width 3 cannot join; both are answered."""
    calls = [
        (width, server.start_infer(infer_request("wide", x=np.full((1, width), width, np.float32))))
        for width in (2, 3, 0, 2, 3, 5)
    ]
    for width, call in calls:
        np.testing.assert_array_equal(y_of(call.result()), np.full((1, width), width, np.float32))
    server.settle()


def test_an_allocation_that_cannot_succeed_fails_its_request_only(server: Server) -> None:
    """2^46 numbers of eight bytes are more than an address space holds."""
    failure = server.refusal(infer_request("huge", count=np.array([2**46], np.int64)))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "EXECUTION_FAILED"
    assert failure.message.startswith("model 'huge' failed while it ran: ")
    assert_safe(failure)
    good = server.infer(infer_request("huge", count=np.array([4], np.int64)))
    np.testing.assert_array_equal(arrays_of(good)["y"], [0.0])
    server.assert_well()
