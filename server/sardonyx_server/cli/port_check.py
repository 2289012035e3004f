"""Checks that an address can be listened on before any model is loaded, so that an error is reported at once.

The server binds the address itself later, which may still fail if another program takes it in between.
"""

from __future__ import annotations

import errno
import socket

from sardonyx_server.cli.exit_codes import CliError, ExitCode
from sardonyx_server.text import host_and_port

__all__ = ["require_port_free"]


def require_port_free(host: str, port: int, *, flag: str, host_flag: str = "--host") -> None:
    """Binds the address and closes it again.

    Args:
        host: As ``--host``; a name or an address.
        port: 0 is always free.
        flag: The flag that sets the port, for the message.
        host_flag: The flag that sets the address, likewise.

    Raises:
        CliError: The address cannot be listened on; says why and what to do.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):  # UnicodeError: a label is empty or has more than 63 characters
        raise CliError(ExitCode.CANNOT_LISTEN, f"cannot listen on {host}: unknown host name; set {host_flag}") from None
    family, kind, protocol, _, address = found[0]
    try:
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: connections in TIME_WAIT are no obstacle, another listener is.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise CliError(ExitCode.CANNOT_LISTEN, _message(host_and_port(host, port), flag, host_flag, error)) from None


def _message(place: str, flag: str, host_flag: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"cannot listen on {place}: the port is in use; stop the program that uses it or choose another with {flag}"
        )
    if error.errno == errno.EACCES:
        return f"cannot listen on {place}: not permitted; choose a port of 1024 or above with {flag}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen on {place}: this machine has no such address; set {host_flag}"
    return f"cannot listen on {place}: {error.strerror}"
