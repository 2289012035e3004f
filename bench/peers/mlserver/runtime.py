"""MLServer's inference runtime for an ONNX model, written as its documentation shows custom runtimes."""

from __future__ import annotations

import os

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from bench.peers.session import Arguments, open_session


class OnnxRuntime(MLModel):
    """One session to a process."""

    async def load(self) -> bool:
        """Open the model."""
        arguments = Arguments.from_json(os.environ["PEER_ARGUMENTS"])
        self._session = open_session(arguments.file, threads=arguments.threads)
        self._outputs = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run one request, or what adaptive batching has merged into one."""
        feeds = {one.name: NumpyCodec.decode_input(one) for one in payload.inputs}
        results = self._session.run(self._outputs, feeds)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output(name, result) for name, result in zip(self._outputs, results, strict=True)
            ],
        )
