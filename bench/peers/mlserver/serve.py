"""Serves one ONNX model with MLServer over the Open Inference Protocol. Run by that environment's interpreter."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from bench.peers.session import Arguments, free_port


def main() -> None:
    """Write the two settings files and become the server."""
    arguments = Arguments.parse()
    settings = arguments.settings
    folder = Path(tempfile.mkdtemp(prefix="peer-mlserver-"))
    server = {
        "debug": False,  # with it every request is logged
        "host": "127.0.0.1",
        "grpc_port": arguments.port,
        "http_port": free_port(),
        "metrics_endpoint": None,
        "parallel_workers": settings.get("workers", 0),
    }
    model = {
        "name": arguments.name,
        "implementation": "bench.peers.mlserver.runtime.OnnxRuntime",
        "max_batch_size": settings.get("max_batch_size", 0),
        "max_batch_time": settings.get("max_batch_time_s", 0.0),
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    os.environ["PEER_ARGUMENTS"] = arguments.as_json()
    command = [sys.executable, "-m", "mlserver.cli.main", "start", str(folder)]
    os.execv(command[0], command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
