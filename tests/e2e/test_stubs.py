"""Stubs that grpc's own generator makes from protos/: what a caller in any language has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.e2e.servers import Server

pytest.importorskip("grpc_tools", reason="generates the stubs")

PROTOS: Final = Path(__file__).parents[2] / "protos"
# In a process of its own: this one has another copy of package inference.
CALLER: Final = """
import json, struct, sys
import grpc
from inference import grpc_service_pb2 as pb, grpc_service_pb2_grpc as stubs

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = stubs.GRPCInferenceServiceStub(channel)
    live = stub.ServerLive(pb.ServerLiveRequest(), timeout=60).live
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="affine"), timeout=60)
    typed = pb.ModelInferRequest(model_name="affine", id="typed")
    typed.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 1, 1, 1])
    raw = pb.ModelInferRequest(model_name="affine", id="raw", raw_input_contents=[struct.pack("<4f", 1, 1, 1, 1)])
    raw.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    answers = [stub.ModelInfer(request, timeout=60) for request in (typed, raw)]
    try:
        stub.ModelInfer(pb.ModelInferRequest(model_name="nobody"), timeout=60)
        code = "OK"
    except grpc.RpcError as error:
        code = error.code().name
print(json.dumps({
    "live": live,
    "inputs": [[x.name, x.datatype, list(x.shape)] for x in metadata.inputs],
    "ids": [answer.id for answer in answers],
    "same": answers[0].raw_output_contents == answers[1].raw_output_contents,
    "y": struct.unpack("<4f", answers[1].raw_output_contents[0])[1],
    "code": code,
}))
"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated modules."""
    folder = tmp_path_factory.mktemp("stubs")
    files = [str(path.relative_to(PROTOS)) for path in sorted(PROTOS.glob("inference/*.proto"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--python_out={folder}"]
    subprocess.run([*command, f"--grpc_python_out={folder}", *files], check=True)
    return folder


def test_generated_stubs_talk_to_the_server(server: Server, stubs: Path) -> None:
    """Typed and raw contents, metadata, an error."""
    done = subprocess.run(
        [sys.executable, "-c", CALLER, server.app.address], cwd=stubs, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {
        "live": True,
        "inputs": [["x", "FP32", [-1, 4]]],
        "ids": ["typed", "raw"],
        "same": True,
        "y": -1.75,
        "code": "NOT_FOUND",
    }
    server.assert_well()
