"""TCP between two sockets of one machine. No network lies between them that would have to be spared."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

__all__ = ["disable_pacing"]

# In every Linux, and the one that no administrator can forbid: it is the last resort of the others.
_PLAIN: Final = b"reno"


def disable_pacing(connected: socket.socket) -> None:
    """Have a socket send at once what it is given, where the other end is on this machine.

    Called when it has much to send: what is little is sent at once either way.

    A system may be set to pace all connections by a clock (BBR), which is good for a network and takes time and CPU
    here: with it a model that answers 602 kB answered 0.80 as often over loopback (2 cores, 2026-11-26). Whatever the
    system does to connections that leave the machine is its own matter.

    Args:
        connected: A socket of any family. Nothing is set where it is not connected, or the system has no such choice.
    """
    if connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):
        if connected.getsockname()[0] == connected.getpeername()[0]:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _PLAIN)
