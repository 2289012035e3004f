"""A server of a few lines, for the verbs that call one."""

from __future__ import annotations

import grpc
import numpy as np

from sardonyx_wire.messages import (
    METHODS,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
)

__all__ = ["Doubler"]


class Doubler(grpc.GenericRpcHandler):
    """Serves one model: y = 2 x, and the text it was sent. Keeps what came."""

    def __init__(self) -> None:
        self.requests: list[ModelInferRequest] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The two methods that the verb calls."""
        serve = {METHODS["ModelMetadata"].path: self._metadata, METHODS["ModelInfer"].path: self._infer}
        method = serve.get(details.method)
        return None if method is None else grpc.unary_unary_rpc_method_handler(method)

    def _metadata(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        if ModelMetadataRequest.FromString(message).name != "double":
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown model")
        response = ModelMetadataResponse(name="double", versions=["1"], platform="test")
        response.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
        response.inputs.add(name="text", datatype="BYTES", shape=[-1])
        response.outputs.add(name="y", datatype="FP32", shape=[-1, 2])
        response.outputs.add(name="text", datatype="BYTES", shape=[-1])
        return response.SerializeToString()

    def _infer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        request = ModelInferRequest.FromString(message)
        self.requests.append(request)
        rows = np.frombuffer(request.raw_input_contents[0], np.float32)
        response = ModelInferResponse(model_name="double", model_version="1", id=request.id)
        response.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        response.outputs.add(name="text", datatype="BYTES", shape=request.inputs[1].shape)
        response.raw_output_contents.extend([(2 * rows).tobytes(), request.raw_input_contents[1]])
        return response.SerializeToString()
