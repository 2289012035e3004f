"""Typed client of Sardonyx and of any server that speaks the Open Inference Protocol over gRPC.

from sardonyx_client import Client

with Client("127.0.0.1:8001") as client:
    result = client.infer("iris", X=[[5.1, 3.5, 1.4, 0.2]])
    print(result["label"], result["probabilities"])
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Final

from sardonyx_client._async_client import AsyncClient
from sardonyx_client._client import Client
from sardonyx_client._errors import (
    BadResponse,
    Cancelled,
    ClientClosed,
    ClientError,
    DeadlineExceeded,
    InvalidArgument,
    ModelChanged,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServerFault,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from sardonyx_client._options import TLS, Coalesce, Hedge, Retry, Share

if TYPE_CHECKING:
    from sardonyx_client._model import AsyncModel, Model
    from sardonyx_client._streams.async_stream import AsyncStream
    from sardonyx_client._streams.stream import Stream
    from sardonyx_client._values import (
        CallRecord,
        Duration,
        IndexEntry,
        ModelInfo,
        ModelStatistics,
        ParameterValue,
        Result,
        ServerInfo,
        SharedMemoryRegion,
        Timings,
    )
    from sardonyx_wire.tensors import TensorSpec

    __version__: str

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncModel",
    "AsyncStream",
    "BadResponse",
    "CallRecord",
    "Cancelled",
    "Client",
    "ClientClosed",
    "ClientError",
    "Coalesce",
    "DeadlineExceeded",
    "Duration",
    "Hedge",
    "IndexEntry",
    "InvalidArgument",
    "Model",
    "ModelChanged",
    "ModelInfo",
    "ModelStatistics",
    "NotFound",
    "ParameterValue",
    "PermissionDenied",
    "ResourceExhausted",
    "Result",
    "Retry",
    "ServerFault",
    "ServerInfo",
    "Share",
    "SharedMemoryRegion",
    "Stream",
    "TensorSpec",
    "Timings",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]

# Programs use these for annotations only, and creating the classes takes as long as importing everything else; some
# import protobuf's reflection too. See Client.__init__.
_LAZY: Final = {
    "sardonyx_client._streams.async_stream": ("AsyncStream",),
    "sardonyx_client._model": ("AsyncModel", "Model"),
    "sardonyx_client._streams.stream": ("Stream",),
    "sardonyx_client._values": (
        "CallRecord",
        "Duration",
        "IndexEntry",
        "ModelInfo",
        "ModelStatistics",
        "ParameterValue",
        "Result",
        "ServerInfo",
        "SharedMemoryRegion",
        "Timings",
    ),
    "sardonyx_wire.tensors": ("TensorSpec",),
}


def __getattr__(name: str) -> Any:
    """Import the modules of ``_LAZY`` on first use, and read the version of the installed distribution."""
    if name == "__version__":
        return metadata.version("sardonyx")
    for module, names in _LAZY.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
