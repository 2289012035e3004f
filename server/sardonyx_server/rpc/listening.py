"""What an operator reads where gRPC's port cannot be listened on, on either transport."""

from __future__ import annotations

from sardonyx_server.errors import CannotListen
from sardonyx_server.text import host_and_port

__all__ = ["cannot_listen"]


def cannot_listen(host: str, port: int) -> CannotListen:
    """The error, and the way out."""
    return CannotListen(
        f"cannot listen on {host_and_port(host, port)}: the port is in use or the address is not this machine's; "
        "choose another with --grpc-port or --host"
    )
