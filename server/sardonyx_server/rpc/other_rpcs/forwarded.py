"""Who called, where the call came by way of the lane: the grpcio server itself only sees the lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PEER_KEY", "peer_of"]

PEER_KEY: Final = "sardonyx-peer"
"""Metadata that the lane adds to what it relays; what a caller sends by this name is dropped there."""


def peer_of(metadata: Iterable[tuple[str, str | bytes]], peer: str) -> str:
    """Address of the caller in gRPC's form.

    Args:
        metadata: Of the call.
        peer: Who is connected to the grpcio server.
    """
    if not peer.startswith("unix"):
        return peer
    return next((str(value) for key, value in metadata if key == PEER_KEY), peer)
