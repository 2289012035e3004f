"""The error for the operator if the gRPC port cannot be bound, the same on both transports."""

from __future__ import annotations

from sardonyx_server.errors import CannotListen
from sardonyx_server.text import host_and_port

__all__ = ["cannot_listen"]


def cannot_listen(host: str, port: int) -> CannotListen:
    """Make the error, which names the flags that help."""
    return CannotListen(
        f"cannot listen on {host_and_port(host, port)}: the port is in use or the address is not this machine's; "
        "choose another with --grpc-port or --host"
    )
