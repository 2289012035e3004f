"""Requests of random data, made from a model's signature alone and serialised before anything is sent."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.measuring.synth import recipes
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.tensors import encode_raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sardonyx_server.engine.measuring.synth import Recipe
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["candidates", "is_batched", "message", "messages"]

# Enough that no server answers from a cache of the last one, few enough to be made at once.
_MESSAGES: Final = 64
_MESSAGES_BYTES: Final = 64 * 1024 * 1024
_ROW_BYTES: Final = 256 * 1024 * 1024
# Where shapes are open the server is asked which of them it takes; a model that refuses so many takes none.
_CANDIDATES: Final = 40


def is_batched(inputs: Sequence[TensorSpec]) -> bool:
    """Whether requests may have several rows: every input's first axis is open."""
    return bool(inputs) and all(spec.shape is not None and spec.shape[:1] == (-1,) for spec in inputs)


def candidates(inputs: Sequence[TensorSpec]) -> Iterator[Recipe]:
    """Ways to fill the inputs, the likeliest first. More than one where the signature leaves something open."""
    return islice(recipes(inputs, batched=is_batched(inputs), max_bytes=_ROW_BYTES), _CANDIDATES)


def message(model: str, version: str, recipe: Recipe, *, rows: int, seed: int) -> bytes:
    """One serialised ``ModelInferRequest``.

    Args:
        model: Name.
        version: "" leaves the choice to the server.
        recipe: How its inputs are filled.
        rows: Has no meaning where the recipe has no axis for them.
        seed: The same gives the same bytes. 0 has the most extreme values, so a server that takes it takes the others.
    """
    request = ModelInferRequest(model_name=model, model_version=version)
    feeds = recipe.feeds(rows=rows, seed=seed)
    for name, datatype in zip(recipe.names, recipe.datatypes, strict=True):
        request.inputs.add(name=name, datatype=datatype, shape=feeds[name].shape)
        request.raw_input_contents.append(bytes(encode_raw(DATATYPES[datatype], feeds[name])))
    return request.SerializeToString()


def messages(model: str, version: str, recipe: Recipe, *, rows: int, seed: int) -> tuple[bytes, ...]:
    """Different messages to send in turn: at most 64, or 64 MiB of them, but at least one."""
    first = message(model, version, recipe, rows=rows, seed=seed + 1)
    count = max(1, min(_MESSAGES, _MESSAGES_BYTES // len(first)))
    rest = (message(model, version, recipe, rows=rows, seed=seed + 1 + index) for index in range(1, count))
    return (first, *rest)
