"""Requests with random data, made from a model's signature and serialised before the run starts."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.profiling.synthetic_inputs import recipes
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.tensors import encode_raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sardonyx_server.engine.profiling.synthetic_inputs import Recipe
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["candidates", "is_batched", "message", "messages"]

# Enough to defeat a server's cache of the last request, few enough to be made in advance.
_MESSAGES: Final = 64
_MESSAGES_BYTES: Final = 64 * 1024 * 1024
_ROW_BYTES: Final = 256 * 1024 * 1024
# Candidate shapes to try on a server if the signature leaves shapes open.
_CANDIDATES: Final = 40


def is_batched(inputs: Sequence[TensorSpec]) -> bool:
    """Whether requests may have several rows: the first axis of every input is dynamic."""
    return bool(inputs) and all(spec.shape is not None and spec.shape[:1] == (-1,) for spec in inputs)


def candidates(inputs: Sequence[TensorSpec]) -> Iterator[Recipe]:
    """Candidate inputs, the likeliest first. There are several if the signature leaves shapes open."""
    return islice(recipes(inputs, batched=is_batched(inputs), max_bytes=_ROW_BYTES), _CANDIDATES)


def message(model: str, version: str, recipe: Recipe, *, rows: int, seed: int) -> bytes:
    """One serialised ``ModelInferRequest``.

    Args:
        model: Name.
        version: "" = the server's choice.
        recipe: How the inputs are filled.
        rows: Ignored if the recipe has no batch axis.
        seed: Equal seeds give equal bytes. Seed 0 has the most extreme values: a server that accepts it accepts all.
    """
    request = ModelInferRequest(model_name=model, model_version=version)
    feeds = recipe.feeds(rows=rows, seed=seed)
    for name, datatype in zip(recipe.names, recipe.datatypes, strict=True):
        request.inputs.add(name=name, datatype=datatype, shape=feeds[name].shape)
        request.raw_input_contents.append(bytes(encode_raw(DATATYPES[datatype], feeds[name])))
    return request.SerializeToString()


def messages(model: str, version: str, recipe: Recipe, *, rows: int, seed: int) -> tuple[bytes, ...]:
    """Distinct messages to cycle through: at most 64 and at most 64 MiB, but at least one."""
    first = message(model, version, recipe, rows=rows, seed=seed + 1)
    count = max(1, min(_MESSAGES, _MESSAGES_BYTES // len(first)))
    rest = (message(model, version, recipe, rows=rows, seed=seed + 1 + index) for index in range(1, count))
    return (first, *rest)
