"""Serves one ONNX model with LitServe over HTTP, bodies of plain bytes. Run by that environment's interpreter."""

# No "from __future__ import annotations": FastAPI reads the annotation of decode_request, and needs more than its text.
from typing import Annotated, Any

import litserve as ls
import numpy as np
from fastapi import Body, Response

from bench.peers.session import Arguments, Bodies

_ARGUMENTS = Arguments.parse()


class OnnxApi(ls.LitAPI):
    """The model in each worker process."""

    def setup(self, _device: str) -> None:
        """Open the model."""
        self._bodies = Bodies(_ARGUMENTS)

    def decode_request(self, request: Annotated[bytes, Body()]) -> np.ndarray[Any, Any]:
        """A row."""
        return self._bodies.read(request)

    def batch(self, inputs: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Rows stay apart until the model runs."""
        return inputs

    def predict(self, rows: Any) -> Any:
        """One row, or a list of them where batching is on."""
        if isinstance(rows, list):
            return self._bodies.answer_rows(rows)
        return self._bodies.answer_rows([rows])[0]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """They are apart again already."""
        return output

    def encode_response(self, output: bytes) -> Response:
        """Plain bytes."""
        return Response(output, media_type="application/octet-stream")


def main() -> None:
    """Serve."""
    settings = _ARGUMENTS.settings
    api = OnnxApi(max_batch_size=settings.get("max_batch_size", 1), batch_timeout=settings.get("max_batch_time_s", 0.0))
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=_ARGUMENTS.instances, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=_ARGUMENTS.port,
        num_api_servers=settings.get("api_servers", 1),
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )


if __name__ == "__main__":
    main()
