"""Finds random inputs that a model accepts, by trying them: a signature with dynamic shapes does not tell which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_server.load.loops import LoadGeneratorError
from sardonyx_server.load.messages import candidates, message
from sardonyx_wire.messages import METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.profiling.synthetic_inputs import Recipe
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["METHOD", "discover_inputs"]

METHOD: Final = METHODS["ModelInfer"].path
_OPTIONS: Final = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
# After one of these another shape would fail in the same way.
_FATAL_CODES: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


def discover_inputs(
    address: str,
    model: str,
    version: str,
    inputs: Sequence[TensorSpec],
    *,
    rows: int,
    timeout_s: float,
    metadata: tuple[tuple[str, str], ...] = (),
) -> Recipe:
    """The first candidate for the inputs that the server answers.

    Raises:
        LoadGeneratorError: The server refused all of them; the message has its last error.
    """
    tried, refusal = 0, "its inputs are larger than 256 MiB"
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        for recipe in candidates(inputs):
            tried += 1
            try:
                call(message(model, version, recipe, rows=rows, seed=0), timeout=timeout_s, metadata=metadata)
            except grpc.RpcError as error:
                code, words = error.code(), " ".join((error.details() or "").split())
                refusal = f"{code.name}: {words}"
                if code in _FATAL_CODES:
                    break
            else:
                return recipe
    shapes = "1 way" if tried == 1 else f"{tried} ways"
    raise LoadGeneratorError(f"model {model!r} on {address} refused random data, made in {shapes}: {refusal}")
