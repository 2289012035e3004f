"""The project's own client against the whole server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sardonyx_client import Client, DeadlineExceeded, InvalidArgument, NotFound, ServerFault, Unavailable
from tests.e2e.messages import gate_request
from tests.e2e.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """Connected to the shared server."""
    with Client(server.app.address) as connected:
        yield connected


def test_a_whole_conversation(client: Client) -> None:
    """From readiness to a result."""
    client.wait_until_ready(20, model="affine")
    assert client.live()
    assert client.metadata().name == "sardonyx"
    info = client.metadata("affine")
    assert (info.name, info.inputs[0].datatype, info.inputs[0].shape) == ("affine", "FP32", (-1, 4))
    assert client.config("affine").max_batch_size == 8
    result = client.infer("add_sub", a=np.full((2, 4), 5, np.int32), b=np.ones((2, 4), np.int32), request_id="ü")
    assert (result.request_id, list(result)) == ("ü", ["sum", "difference"])
    np.testing.assert_array_equal(result["difference"], np.full((2, 4), 4))


def test_versions_and_outputs_can_be_chosen(client: Client) -> None:
    """Version as number or text; outputs in the order asked for."""
    x = np.ones((1, 4), np.float32)
    assert client.infer("affine", x=x).model_version == "3"
    assert client.infer("affine", x=x, version=1).model_version == "1"
    ones = np.ones((1, 4), np.int32)
    assert list(client.infer("add_sub", a=ones, b=ones, outputs=["difference", "sum"])) == ["difference", "sum"]


def test_text_goes_in_and_comes_out(client: Client) -> None:
    """UTF-8 both ways."""
    result = client.infer("identity_bytes", x=[["Zürich", "東京", ""]])
    assert result.text("y").tolist() == [["Zürich", "東京", ""]]


def test_errors_say_who_can_act(client: Client) -> None:
    """With the field and the reason that the server sent."""
    with pytest.raises(NotFound, match=r"^unknown model 'nobody'") as missing:
        client.infer("nobody", x=[1.0])
    assert missing.value.reason == "MODEL_NOT_FOUND"
    with pytest.raises(InvalidArgument, match=r"^input 'x' of model 'affine': expected FP32 \[-1,4\]") as wrong:
        client.infer("affine", x=np.ones((1, 5), np.float32))
    error = wrong.value
    assert (error.field, error.expected, error.got) == ("inputs[0].shape", "FP32 [-1,4]", "FP32 [1,5]")
    with pytest.raises(InvalidArgument) as early:
        client.model("affine").infer(x=np.ones((1, 5), np.float32))
    assert (early.value.expected, early.value.got) == (error.expected, error.got)
    with pytest.raises(ServerFault, match=r"^model 'huge' failed while it ran"):
        client.infer("huge", count=np.array([2**46], np.int64))


def test_a_time_out_is_the_callers(server: Server, client: Client) -> None:
    """The model is busy for longer."""
    rows: dict[str, Any] = {
        "x": np.ones((1, 2), np.float32),
        "index": np.zeros((1, 1), np.int64),
        "trips": np.zeros((1, 1), np.int64),
    }
    with server.holding(gate_request()), pytest.raises(DeadlineExceeded):
        client.infer("gate", rows, timeout_s=0.05)
    client.infer("gate", rows, timeout_s=math.inf)
    server.assert_well()


def test_a_server_that_is_gone_is_unavailable() -> None:
    """Nobody listens on port 1."""
    with Client("127.0.0.1:1", timeout_s=5) as nobody:
        assert not nobody.live()
        with pytest.raises(Unavailable):
            nobody.infer("affine", x=[1.0])
