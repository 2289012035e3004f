"""Starts ``sardonyx serve models`` as a user does, to measure the process itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.control import ROOT, ChildFailed, end

__all__ = ["Running", "started"]

_COMMAND: Final = (sys.executable, "-m", "sardonyx_server.cli", "serve", "models")
_FLAGS: Final = ("--grpc-port", "0", "--metrics-port", "0", "--log-format", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is ready.

    Attributes:
        pid: Process id.
        address: Host and port.
        ready_s: From before the process was created to its line "serving".
    """

    pid: int
    address: str
    ready_s: float


@contextmanager
def started() -> Iterator[Running]:
    """Start ``sardonyx serve models``, and wait until it is ready.

    Raises:
        ChildFailed: It ended before it was ready.
    """
    began_s = time.monotonic()
    process = subprocess.Popen([*_COMMAND, *_FLAGS], cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ours
    try:
        for line in process.stdout or ():
            event = json.loads(line)
            if event.get("event") == "serving":
                break
        else:
            raise ChildFailed(f"sardonyx serve: ended with status {process.wait()} before it was ready")
        yield Running(pid=process.pid, address=event["address"], ready_s=time.monotonic() - began_s)
    finally:
        process.terminate()
        end(process)
