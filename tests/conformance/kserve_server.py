"""kserve's model server with one model that answers what it was asked, in kserve's own environment.

    python kserve_server.py GRPC_PORT HTTP_PORT

Knows nothing of this project.
"""

from __future__ import annotations

import sys
from typing import Any

import kserve


class Echo(kserve.Model):  # type: ignore[misc]  # kserve is in its own environment only
    """Every input comes back as an output of the same name."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.ready = True

    async def get_input_types(self) -> Any:
        """For the metadata."""
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]

    async def get_output_types(self) -> Any:
        """Likewise."""
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Echo."""
        outputs = []
        for tensor in payload.inputs:
            output = kserve.InferOutput(name=tensor.name, shape=tensor.shape, datatype=tensor.datatype)
            output.set_data_from_numpy(tensor.as_numpy(), binary_data=True)
            outputs.append(output)
        return kserve.InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=outputs)


if __name__ == "__main__":
    grpc_port, http_port = sys.argv[1:]
    kserve.ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1).start([Echo()])
