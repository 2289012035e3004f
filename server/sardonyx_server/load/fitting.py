"""Which made-up inputs a model takes: asks the server, for a signature with open shapes does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_server.load.loops import LoadFailed
from sardonyx_server.load.messages import candidates, message
from sardonyx_wire.messages import METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.measuring.synth import Recipe
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["METHOD", "fit"]

METHOD: Final = METHODS["ModelInfer"].path
_OPTIONS: Final = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
# Another shape would end the same way.
_HOPELESS: Final = frozenset(
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


def fit(address: str, model: str, version: str, inputs: Sequence[TensorSpec], *, rows: int, timeout_s: float) -> Recipe:
    """The first way to fill the inputs that the server answers.

    Raises:
        LoadFailed: It refuses all of them; says what it said to the last.
    """
    tried, refusal = 0, "its inputs are larger than 256 MiB"
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        for recipe in candidates(inputs):
            tried += 1
            try:
                call(message(model, version, recipe, rows=rows, seed=0), timeout=timeout_s)
            except grpc.RpcError as error:
                code, words = error.code(), " ".join((error.details() or "").split())
                refusal = f"{code.name}: {words}"
                if code in _HOPELESS:
                    break
            else:
                return recipe
    shapes = "1 way" if tried == 1 else f"{tried} ways"
    raise LoadFailed(f"model {model!r} on {address} refused random data, made in {shapes}: {refusal}")
