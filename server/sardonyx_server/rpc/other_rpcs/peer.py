"""The address of the caller. For a call that the lane forwards, the grpcio server itself only sees the lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PEER_KEY", "peer_of"]

PEER_KEY: Final = "sardonyx-peer"
"""Metadata key that the lane adds to forwarded calls. It drops this key if a caller sends it."""


def peer_of(metadata: Iterable[tuple[str, str | bytes]], peer: str) -> str:
    """The address of the caller, in gRPC's form.

    Args:
        metadata: Metadata of the call.
        peer: Address of the peer that is connected to the grpcio server.
    """
    if not peer.startswith("unix"):
        return peer
    return next((str(value) for key, value in metadata if key == PEER_KEY), peer)
