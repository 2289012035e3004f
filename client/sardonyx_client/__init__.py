"""Typed client of Sardonyx and of any server that speaks the Open Inference Protocol over gRPC.

from sardonyx_client import Client

with Client("127.0.0.1:8001") as client:
    result = client.infer("iris", X=[[5.1, 3.5, 1.4, 0.2]])
    print(result["label"], result["probabilities"])
"""

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

__all__ = [
    "TLS",
    "AsyncClient",
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
    "Timings",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]
