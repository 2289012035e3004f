"""Listening by gRPC's core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.errors import CannotListen
from sardonyx_server.text import host_and_port

if TYPE_CHECKING:
    import grpc

__all__ = ["listen"]


def listen(server: grpc.Server, host: str, port: int) -> int:
    """Bind an address.

    Args:
        server: That has not been started.
        host: Name or address.
        port: 0 = any that is free.

    Returns:
        The port.

    Raises:
        CannotListen: It is taken or not ours.
    """
    place = host_and_port(host, port)
    try:
        return server.add_insecure_port(place)
    except RuntimeError as error:
        raise CannotListen(
            f"cannot listen on {place}: the port is in use or the address is not this machine's; choose "
            "another with --grpc-port or --host"
        ) from error
