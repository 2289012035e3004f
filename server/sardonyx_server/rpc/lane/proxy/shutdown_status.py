"""The status of calls that the shutdown of the server ends. It also replaces CANCELLED of the grpcio server.

When gRPC's core begins to shut down, it cancels calls that it has read and not handed over; at the end of the grace
period it cancels those without a response. The client has cancelled nothing, so it is told that the server stops.
"""

from __future__ import annotations

from typing import Final

import grpc

from sardonyx_server.errors import ShuttingDown
from sardonyx_server.rpc.lane.messages.response_frames import trailers_block
from sardonyx_server.rpc.status import to_status
from sardonyx_wire.http2.hpack import DynamicTable, HpackError, decode_block

__all__ = ["SHUTDOWN_STATUS", "rewrite_cancelled"]

SHUTDOWN_STATUS: Final = to_status(ShuttingDown("the server stopped before it answered; send it to another server"))
"""Status of a call that has no response at the end of the grace period."""

# Largest header list of trailers. Core has a lower limit.
_MAX_DECODED_HEADER_BYTES: Final = 64 * 1024
_CANCELLED: Final = b"%d" % grpc.StatusCode.CANCELLED.value[0]
# Dynamic table size update to 0 (RFC 7541, section 6.3). The first header block of the grpcio server begins with it, as
# we ask for a table of that size.
_TABLE_SIZE_ZERO: Final = b"\x20"


def rewrite_cancelled(block: bytes, *, first: bool) -> bytes:
    """Replace CANCELLED in a header block that ends a response by the shutdown status.

    Args:
        block: As the grpcio server sent it, encoded without a dynamic table.
        first: Whether it is Trailers-Only: nothing was sent before it.

    Returns:
        The new block, or the same one where its status is another.
    """
    try:
        fields = dict(decode_block(block, DynamicTable(0), max_bytes=_MAX_DECODED_HEADER_BYTES))
    except HpackError:
        return block
    if fields.get(b"grpc-status") != _CANCELLED:
        return block
    return block[: block.startswith(_TABLE_SIZE_ZERO)] + trailers_block(SHUTDOWN_STATUS, first=first)
