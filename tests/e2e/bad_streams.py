"""Bad requests on streams, and messages that grow when they are unpacked. Part of the table in bad_requests.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_wire.messages import METHODS, ModelInferRequest
from tests.e2e.bad_request import BadRequest, affine
from tests.e2e.servers import INFER, MESSAGE_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

__all__ = ["STREAM", "streams"]

STREAM: Final = METHODS["ModelStreamInfer"].path
AS_STATUS: Final = {"metadata": (("triton_grpc_error", "true"),)}
NOT_FOUND, TOO_LARGE = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED


def streams() -> list[BadRequest]:
    """Rows about streams and compression."""

    def row(key: str, make: Callable[[], Message | bytes], pattern: str, **more: Any) -> BadRequest:
        more.setdefault("options", AS_STATUS)
        return BadRequest(id=f"stream-{key}", make=make, pattern=pattern, path=STREAM, streams=True, **more)

    whole = affine().SerializeToString()
    return [
        row("malformed", lambda: b"\xff" * 64, r"^the message is not a valid inference\.ModelInferRequest$"),
        row("truncated", lambda: whole[:-1], r"^the message is not a valid inference\.ModelInferRequest$"),
        row("empty", lambda: b"", r"^the model name is empty", code=NOT_FOUND),
        row("unknown-model", lambda: affine(model="nobody"), r"^unknown model 'nobody'", code=NOT_FOUND),
        row(
            "unknown-version", lambda: affine(version="99"), r"^unknown version '99' of model 'affine'", code=NOT_FOUND
        ),
        row("wrong-datatype", lambda: affine(datatype="FP64"), r"expected FP32", field="inputs[0].datatype"),
        row("over-the-limit", too_large, r"larger than max", code=TOO_LARGE, from_core=True),
        *(
            BadRequest(
                id=f"{'stream' if path == STREAM else 'message'}-{name}-bomb",
                make=bomb,
                code=TOO_LARGE,
                pattern=r"larger than max|[Dd]ecompress",
                path=path,
                streams=path == STREAM,
                from_core=True,
                options={"compression": compression},
            )
            for path in (INFER, STREAM)
            for name, compression in (("gzip", grpc.Compression.Gzip), ("deflate", grpc.Compression.Deflate))
        ),
    ]


def bomb() -> ModelInferRequest:
    """A hundred kilobytes on the wire."""
    return ModelInferRequest(raw_input_contents=[bytes(2 * MESSAGE_LIMIT_BYTES)])


def too_large() -> ModelInferRequest:
    """One byte too many."""
    return ModelInferRequest(raw_input_contents=[bytes(MESSAGE_LIMIT_BYTES + 1)])
