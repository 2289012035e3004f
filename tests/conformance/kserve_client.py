"""What kserve's InferenceGRPCClient does, in kserve's own environment. Writes one JSON object; test_kserve.py judges.

Knows nothing of this project: kserve loads its own copy of the protocol.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput

DTYPES = {
    "BOOL": "?",
    "INT8": "i1",
    "INT16": "i2",
    "INT32": "i4",
    "INT64": "i8",
    "UINT8": "u1",
    "UINT16": "u2",
    "UINT32": "u4",
    "UINT64": "u8",
    "FP16": "f2",
    "FP32": "f4",
    "FP64": "f8",
}


def request(model: str, datatype: str, x: Any, *, binary: bool = True, **more: Any) -> InferRequest:
    """With one input."""
    one = InferInput(name="x", shape=list(x.shape), datatype=datatype)
    one.set_data_from_numpy(x, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[one], **more)


async def round_trip(client: Any, datatype: str, *, binary: bool) -> bool:
    """Whether the same numbers come back."""
    if datatype == "BYTES":
        x = np.array([[b"ab", "ü".encode(), b""], [b"c", b"x" * 200, b"\n"]], object)
    else:
        x = np.array([[0, 1, 2], [3, 1, 0]]).astype(DTYPES[datatype])
    answer = await client.infer(request(f"identity_{datatype.lower()}", datatype, x, binary=binary))
    return bool(answer.outputs[0].as_numpy().tolist() == x.tolist())


async def code_of(call: Any) -> str:
    """Name of the status of a call."""
    try:
        await call
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


async def converse(address: str) -> dict[str, Any]:
    """Every method of the client."""
    ones = np.ones((1, 4), np.float32)
    async with InferenceGRPCClient(address, timeout=60) as client:
        whole = request(
            "affine",
            "FP32",
            ones,
            request_id="my id",
            parameters={"text": "a", "number": 1, "switch": True},
            request_outputs=[RequestedOutput("y")],
        )
        answer = await client.infer(whole, headers=(("x-user", "me"),))
        return {
            "version": version("kserve"),
            "methods": sorted(name for name in dir(client) if not name.startswith("_")),
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model ready": await client.is_model_ready("affine"),
            "unknown model ready": await code_of(client.is_model_ready("nobody")),
            "id": answer.id,
            "outputs": [output.name for output in answer.outputs],
            "y": answer.outputs[0].as_numpy().tolist()[0][1],
            "raw": {name: await round_trip(client, name, binary=True) for name in (*DTYPES, "BYTES")},
            "typed": {
                name: await round_trip(client, name, binary=False) for name in (*DTYPES, "BYTES") if name != "FP16"
            },
            "unknown": await code_of(client.infer(request("nobody", "FP32", ones))),
            "bad": await code_of(client.infer(request("affine", "FP64", ones.astype("f8")))),
            "late": await code_of(client.infer(request("affine", "FP32", ones), timeout=-1.0)),
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(converse(sys.argv[1]))))
