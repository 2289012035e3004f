"""Bad requests: names and versions of models, wherever a caller can name one. Part of the table in bad_requests.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest

from sardonyx_server.settings import MIB
from sardonyx_wire.messages import METHODS, ModelConfigRequest, ModelMetadataRequest, ModelReadyRequest
from tests.e2e.bad_request import BadRequest, affine

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

__all__ = ["names"]

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
HEALTH: Final = "/grpc.health.v1.Health/Check"

ODD_NAMES: Final = {
    "unknown": "nobody",
    "1-mb": "m" * MIB,
    "nul": "affine\0",
    "newline": "affine\nX-Injected: 1",
    "dots": "..",
    "path": "../../../etc/passwd",
    "escapes": "\x1b[2J\x1b[31maffine\x07",
    "format": "{0.__class__}%s%n",
    "other-case": "Affine",
}
ODD_VERSIONS: Final = {
    "abc": INVALID,
    "-1": INVALID,
    "0": INVALID,
    "007": INVALID,
    "1e9": INVALID,
    " 1": INVALID,
    "\u0663": INVALID,
    "v" * MIB: INVALID,
    "2": NOT_FOUND,
    "99": NOT_FOUND,
    "9" * 5000: NOT_FOUND,
}
NAMED: Final[dict[str, Callable[[str, str], Message]]] = {
    "ModelInfer": lambda name, version: affine(model=name, version=version),
    "ModelReady": lambda name, version: ModelReadyRequest(name=name, version=version),
    "ModelMetadata": lambda name, version: ModelMetadataRequest(name=name, version=version),
    "ModelConfig": lambda name, version: ModelConfigRequest(name=name, version=version),
}


def names() -> list[BadRequest]:
    """Rows about names and versions."""
    rows = []
    for rpc, make in NAMED.items():
        path = METHODS[rpc].path
        rows += [
            BadRequest(
                id=f"{rpc}-name-{key}",
                make=lambda make=make, name=name: make(name, ""),  # type: ignore[misc]  # defaults bind the loop
                code=NOT_FOUND,
                pattern=r"^unknown model '.*'( \(1,048,576 characters\))?: this server has 'add_sub', ",
                path=path,
            )
            for key, name in ODD_NAMES.items()
        ]
        rows.append(
            BadRequest(
                id=f"{rpc}-name-empty",
                make=lambda make=make: make("", ""),  # type: ignore[misc]
                code=NOT_FOUND,
                pattern=r"^the model name is empty: this server has ",
                path=path,
            )
        )
        rows += [
            BadRequest(
                id=f"{rpc}-version-{version[:5]}",
                make=lambda make=make, version=version: make("affine", version),  # type: ignore[misc]
                code=code,
                pattern=r"of model 'affine': known versions are 1, 3$"
                if code is NOT_FOUND
                else r"of model 'affine': expected a positive integer without leading zeros, or none for the newest$",
                path=path,
                field="" if code is NOT_FOUND else "model_version" if rpc == "ModelInfer" else "version",
            )
            for version, code in ODD_VERSIONS.items()
        ]
    rows += [
        BadRequest(
            id=f"health-{key}",
            make=lambda name=name: HealthCheckRequest(service=name),  # type: ignore[misc]
            code=NOT_FOUND,
            pattern=r"^unknown service '",
            path=HEALTH,
        )
        for key, name in ODD_NAMES.items()
    ]
    return rows
