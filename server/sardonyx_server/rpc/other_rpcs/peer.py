"""The address of the caller. For a call that the lane forwards, the grpcio server itself only sees the lane.

Every process in the same network namespace can connect to the socket between the lane and the grpcio server. The
address that the lane adds therefore comes with a secret of this process, and a call without it is refused.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PEER_KEY", "peer_of", "peer_value"]

PEER_KEY: Final = "sardonyx-peer"
"""Metadata key that the lane adds to forwarded calls. It drops this key if a caller sends it."""

_SECRET: Final = secrets.token_hex(32).encode()


def peer_value(peer: str) -> bytes:
    """The value of :data:`PEER_KEY` for a caller with this address."""
    return b"%b %b" % (_SECRET, peer.encode())


def peer_of(metadata: Iterable[tuple[str, str | bytes]], peer: str) -> str:
    """The address of the caller, in gRPC's form.

    Args:
        metadata: Metadata of the call.
        peer: Address of the peer that is connected to the grpcio server.

    Raises:
        Unauthenticated: The call arrived on the internal socket, but the lane did not forward it.
    """
    if not peer.startswith("unix"):
        return peer
    value = next((value for key, value in metadata if key == PEER_KEY), b"")
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    secret, _, caller = value.partition(b" ")
    if not hmac.compare_digest(secret, _SECRET):
        raise Unauthenticated("this socket is internal to the server; call the server's port instead")
    return caller.decode()
