"""What callers hear when the server stops, also in place of the cancellations of a stock server.

Core cancels what it has read and not handed over when it begins to stop, and what has no answer when its time is up.
The caller, who has cancelled nothing, hears that the server is stopping.
"""

from __future__ import annotations

from typing import Final

import grpc

from sardonyx_server.errors import ShuttingDown
from sardonyx_server.rpc.lane.messages.answers import status_block
from sardonyx_server.rpc.status import to_status
from sardonyx_wire.http2.hpack import DynamicTable, HpackError, decode_block

__all__ = ["STOPPED", "heard"]

STOPPED: Final = to_status(ShuttingDown("the server stopped before it answered; send it to another server"))
"""How a call ends that has no answer when the server's time to stop is up."""

# Of trailers, which is more than core lets them have.
_MAX_DECODED_HEADER_BYTES: Final = 64 * 1024
_CANCELLED: Final = b"%d" % grpc.StatusCode.CANCELLED.value[0]
# "The header table has no entries": the stock server's first header begins with it, as it was asked to.
_NO_TABLE: Final = b"\x20"


def heard(block: bytes, *, first: bool) -> bytes:
    """The header block that ends an answer, for the caller.

    Args:
        block: As the stock server sent it, which has no header table.
        first: Nothing was sent before it.
    """
    try:
        fields = dict(decode_block(block, DynamicTable(0), max_bytes=_MAX_DECODED_HEADER_BYTES))
    except HpackError:
        return block
    if fields.get(b"grpc-status") != _CANCELLED:
        return block
    return block[: block.startswith(_NO_TABLE)] + status_block(STOPPED, first=first)
