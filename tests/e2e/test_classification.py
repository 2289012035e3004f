"""The parameter ``classification``: the best classes of an output in place of its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.e2e.messages import arrays_of, infer_request
from tests.e2e.models import CLASS_LABELS, MAX_ROWS, identity_name
from tests.e2e.servers import Server

X = np.array([[0.1, 0.5, 0.2, 0.5, -1], [9, 8, 7, 6, 5]], np.float32)
TOP_2 = [[b"0.500000:1:rose", b"0.500000:3"], [b"9.000000:0:lily", b"8.000000:1:rose"]]


def classified(x: Any, k: int, model: str = "classes") -> Any:
    """A request for the best ``k`` classes."""
    request = infer_request(model, x=x, outputs=["y"])
    request.outputs[0].parameters["classification"].int64_param = k
    return request


def test_the_best_classes_come_as_text_with_their_labels(server: Server) -> None:
    """``value:index:label``, or ``value:index`` where the label file has no name for it."""
    answer = server.infer(classified(X, 2))
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "BYTES", [2, 2])
    assert arrays_of(answer)["y"].tolist() == TOP_2


def test_more_classes_than_there_are_means_all(server: Server) -> None:
    """As Triton has it."""
    answer = server.infer(classified(X, 2**62))
    assert list(answer.outputs[0].shape) == [2, 5]
    assert [row[:2] for row in arrays_of(answer)["y"].tolist()] == TOP_2
    server.assert_well()


def test_a_request_that_is_split_is_classified_as_one(server: Server) -> None:
    """More rows than a batch has."""
    rows = 3 * MAX_ROWS + 1
    x = np.zeros((rows, 5), np.float32)
    x[np.arange(rows), np.arange(rows) % 5] = 1
    answer = arrays_of(server.infer(classified(x, 1)))["y"].ravel().tolist()
    names = [f":{label}" if label else "" for label in (*CLASS_LABELS, "", "")]
    assert answer == [f"1.000000:{row % 5}{names[row % 5]}".encode() for row in range(rows)]


def test_integers_are_written_as_such(server: Server) -> None:
    """And a model without labels has none."""
    answer = server.infer(classified(np.array([[3, -7, 2**62]], np.int64), 2, identity_name("INT64")))
    assert arrays_of(answer)["y"].tolist() == [[f"{2**62}:2".encode(), b"3:0"]]


def test_a_model_without_batches_gives_classes_without_a_batch_axis(server: Server) -> None:
    """One list for the whole tensor."""
    answer = server.infer(classified(np.array([1, 4, 3, 2], np.float32), 2, "fixed"))
    assert list(answer.outputs[0].shape) == [2]
    assert arrays_of(answer)["y"].tolist() == [b"4.000000:1", b"3.000000:2"]


def test_tritonclient_asks_for_classes(server: Server) -> None:
    """``class_count`` of its InferRequestedOutput."""
    triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
    x = triton.InferInput("x", [2, 5], "FP32")
    x.set_data_from_numpy(X)
    with triton.InferenceServerClient(server.app.address) as client:
        result = client.infer("classes", [x], outputs=[triton.InferRequestedOutput("y", class_count=2)])
    assert result.as_numpy("y").tolist() == TOP_2
