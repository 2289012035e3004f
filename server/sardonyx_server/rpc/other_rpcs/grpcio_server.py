"""The stock ``grpc.server``: how many threads it has, and what is set of gRPC's core."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc

if TYPE_CHECKING:
    from sardonyx_server.settings import Settings

__all__ = ["grpcio_server"]

# Made as they are needed. A caller that opens a call and never sends its message holds one, and on the public API so
# does each ModelInfer that waits for its model.
_THREADS: Final = 64
_MS_PER_S: Final = 1000
# core's grpc_compression_level. It takes an algorithm that the caller accepts, and none where it accepts none.
_COMPRESSION_LEVELS: Final = {"low": 1, "medium": 2, "high": 3}


def grpcio_server(settings: Settings) -> grpc.Server:
    """Make it; it serves nothing yet and does not listen."""
    return grpc.server(ThreadPoolExecutor(_THREADS, thread_name_prefix="rpc"), options=_options(settings))


def _options(settings: Settings) -> list[tuple[str, int]]:
    ping_ms = int(settings.keepalive_min_ping_interval_s * _MS_PER_S)
    compression = _COMPRESSION_LEVELS.get(settings.grpc_infer_response_compression_level)
    return [
        *([] if compression is None else [("grpc.default_compression_level", compression)]),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Without this a second server on the same port would silently take half of the connections.
        ("grpc.so_reuseport", 0),
        # Clients ping every 10 s by common practice; the default policy cuts them off after two pings.
        ("grpc.http2.min_ping_interval_without_data_ms", ping_ms // 2),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
