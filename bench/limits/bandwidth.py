"""Bandwidth of this machine: memory copies, and the loopback interface between two processes. No gRPC."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import Final

__all__ = ["copy_bytes_per_s", "loopback_bytes_per_s"]

_MIB: Final = 1024 * 1024
# Larger than a processor's caches, as a stream of large tensors is.
_COPY_BYTES: Final = 256 * _MIB
_CHUNK_BYTES: Final = 1 * _MIB
_SENDER: Final = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as wire:
    chunk = bytes(int(sys.argv[2]))
    try:
        while True:
            wire.sendall(chunk)
    except OSError:
        pass
"""


def copy_bytes_per_s(seconds: float) -> float:
    """Copy bandwidth of one thread; each byte is read once and written once. Blocks."""
    source, target = bytearray(_COPY_BYTES), bytearray(_COPY_BYTES)
    target[:] = source  # Only now does all of it have memory behind it.
    copies, began_s = 0, time.perf_counter()
    while not copies or time.perf_counter() - began_s < seconds:
        target[:] = source
        copies += 1
    return copies * _COPY_BYTES / (time.perf_counter() - began_s)


def loopback_bytes_per_s(seconds: float) -> float:
    """Bandwidth of one TCP connection from another process to this one. Blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", _SENDER, str(listener.getsockname()[1]), str(_CHUNK_BYTES)]
        with subprocess.Popen(command) as sender:  # noqa: S603  # the text above
            wire, _ = listener.accept()
            buffer = bytearray(_CHUNK_BYTES)
            with wire:
                received, began_s = wire.recv_into(buffer), time.perf_counter()
                received = 0
                while time.perf_counter() - began_s < seconds:
                    received += wire.recv_into(buffer)
                took_s = time.perf_counter() - began_s
            sender.wait()
    return received / took_s
