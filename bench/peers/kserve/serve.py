"""Serves one ONNX model with KServe's Python model server. Run by that environment's interpreter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

from bench.peers.session import Arguments, free_port, open_session

if TYPE_CHECKING:
    import numpy as np


class OnnxModel(Model):
    """A model whose runs happen on the event loop, or on threads where ``instances`` asks for several."""

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments.name)
        self._session = open_session(arguments.file, threads=arguments.threads)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._datatypes = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32"}
        inline = arguments.settings.get("inline", True)
        self._threads = None if inline else ThreadPoolExecutor(arguments.instances)
        self.ready = True

    async def predict(self, payload: InferRequest, _headers: Mapping[str, str] | None = None) -> InferResponse:
        """Run one request; the SDK has no batching."""
        feeds = {one.name: one.as_numpy() for one in payload.inputs}
        if self._threads is None:
            results = self._run(feeds)
        else:
            results = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, feeds)
        outputs = []
        for name, result in zip(self._outputs, results, strict=True):
            output = InferOutput(name=name, shape=list(result.shape), datatype=self._datatypes[result.dtype.name])
            output.set_data_from_numpy(result, binary_data=True)
            outputs.append(output)
        return InferResponse(
            response_id=payload.id, model_name=self.name, infer_outputs=outputs, use_binary_outputs=True
        )

    def _run(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        found: list[np.ndarray[Any, Any]] = self._session.run(self._outputs, dict(feeds))
        return found


def main() -> None:
    """Serve."""
    arguments = Arguments.parse()
    logging.disable(logging.INFO)  # a line for each request otherwise
    server = ModelServer(http_port=free_port(), grpc_port=arguments.port, workers=1, enable_latency_logging=False)
    server.start([OnnxModel(arguments)])


if __name__ == "__main__":
    main()
