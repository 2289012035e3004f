"""Node's own gRPC, @grpc/grpc-js, with stubs made from protos/, on both transports."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sardonyx_wire.messages import METHODS
from tests.conformance.tools import GRPC_JS, ROOT
from tests.e2e.servers import CALL_TIMEOUT_S, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT: Final = Path(__file__).with_name("node") / "client.js"


@pytest.fixture(scope="module")
def found(server: Server) -> Mapping[str, Any]:
    """What its client found."""
    GRPC_JS.require()
    command: list[str | Path] = ["node", SCRIPT, server.app.address, ROOT / "protos"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * CALL_TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answers: Mapping[str, Any] = json.loads(done.stdout)
    return answers


def test_the_stub_has_every_rpc(found: Mapping[str, Any]) -> None:
    """Made from the .proto files by another parser than protoc."""
    assert found["methods"] == sorted(METHODS)


def test_health_and_metadata(found: Mapping[str, Any]) -> None:
    """64-bit sizes travel as text in JavaScript."""
    assert found["live"]
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}]


@pytest.mark.parametrize("way", ["raw", "typed", "gzip"])
def test_an_inference(found: Mapping[str, Any], way: str) -> None:
    """Raw and typed contents, and a compressed message."""
    assert found[way] == pytest.approx(-1.75)


def test_many_at_once_get_their_own_answers(found: Mapping[str, Any]) -> None:
    """By id."""
    assert found["id"] == "my id"
    assert found["concurrent"] == [str(k) for k in range(50)]


def test_errors_are_statuses(found: Mapping[str, Any], server: Server) -> None:
    """Of a name, of a request, of time, and of its own."""
    assert (found["unknown"], found["bad"]) == ("NOT_FOUND", "INVALID_ARGUMENT")
    assert (found["late"], found["cancelled"]) == ("DEADLINE_EXCEEDED", "CANCELLED")
    server.assert_well()


def test_a_stream(found: Mapping[str, Any]) -> None:
    """In the order of the requests; the error of one leaves it open."""
    assert found["stream"] == ["a: -1.75", "error", "b: -1.75"]
