"""Makes the ``grpc.server``: its number of threads and its channel options."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc

if TYPE_CHECKING:
    from sardonyx_server.settings import Settings

__all__ = ["grpcio_server"]

# Threads are started as they are needed. A caller that opens a call and never sends its message holds one. On grpcio's
# public API each ModelInfer that waits for its model holds one too.
_THREADS: Final = 64
_MS_PER_S: Final = 1000
# The values of core's grpc_compression_level. Core picks an algorithm that the caller accepts, or does not compress.
_COMPRESSION_LEVELS: Final = {"low": 1, "medium": 2, "high": 3}


def grpcio_server(settings: Settings) -> grpc.Server:
    """Make the server. It has no handlers yet and does not listen."""
    return grpc.server(ThreadPoolExecutor(_THREADS, thread_name_prefix="rpc"), options=_options(settings))


def _options(settings: Settings) -> list[tuple[str, int]]:
    ping_ms = int(settings.keepalive_min_ping_interval_s * _MS_PER_S)
    compression = _COMPRESSION_LEVELS.get(settings.grpc_infer_response_compression_level)
    return [
        *([] if compression is None else [("grpc.default_compression_level", compression)]),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Otherwise a second server on the same port would silently receive half of the connections.
        ("grpc.so_reuseport", 0),
        # Clients commonly ping every 10 s; the default policy closes their connection after two pings.
        ("grpc.http2.min_ping_interval_without_data_ms", ping_ms // 2),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
