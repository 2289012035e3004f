"""Serves one ONNX model with mosec over HTTP, bodies of plain bytes. Run by that environment's interpreter."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from mosec import Server, Worker

from bench.peers.session import Arguments, Bodies

if TYPE_CHECKING:
    import numpy as np

_VARIABLE = "PEER_ARGUMENTS"


class OnnxWorker(Worker):
    """The model in each worker process."""

    def __init__(self) -> None:
        super().__init__()
        self._bodies = Bodies(Arguments.from_json(os.environ[_VARIABLE]))

    def deserialize(self, data: bytes) -> np.ndarray[Any, Any]:
        """A row."""
        return self._bodies.read(data)

    def serialize(self, data: bytes) -> bytes:
        """Plain bytes."""
        return data

    def forward(self, data: Any) -> Any:
        """One row, or a list of them where batching is on."""
        if isinstance(data, list):
            return self._bodies.answer_rows(data)
        return self._bodies.answer_rows([data])[0]


def main() -> None:
    """Serve."""
    arguments = Arguments.parse()
    os.environ[_VARIABLE] = arguments.as_json()
    # mosec reads its own flags from the command line.
    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(arguments.port), "--log-level", "warning"]
    server = Server()
    server.append_worker(
        OnnxWorker,
        num=arguments.instances,
        max_batch_size=arguments.settings.get("max_batch_size", 1),
        max_wait_time=round(1000 * arguments.settings.get("max_batch_time_s", 0.001)),
        timeout=10,
    )
    server.run()


if __name__ == "__main__":
    main()
