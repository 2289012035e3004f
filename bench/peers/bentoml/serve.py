"""Serves one ONNX model with BentoML over HTTP, bodies of plain bytes. Run by that environment's interpreter."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.peers.session import Arguments


def main() -> None:
    """Become the server."""
    arguments = Arguments.parse()
    os.environ["PEER_ARGUMENTS"] = arguments.as_json()
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ["BENTOML_CONFIG_OPTIONS"] = "services.metrics.enabled=false services.logging.access.enabled=false"
    command = [sys.executable, "-m", "bentoml", "serve", "service:Onnx"]
    command += ["--working-dir", str(Path(__file__).resolve().parent)]
    command += ["--host", "127.0.0.1", "--port", str(arguments.port)]
    os.execv(command[0], command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
