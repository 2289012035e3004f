"""Generates synthetic inputs for a model from its signature alone: sizes for dynamic axes, then values.

Deterministic: the same signature gives the same candidates in the same order, and the same seed the same values. Runs
nothing: whether a model accepts a candidate shows when it is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.tensors import object_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Recipe", "Values", "random_tensor", "recipes"]

# Memory of a `str` of a few ASCII letters and of its reference in an object array.
_STRING_BYTES: Final = 64
_STRING_LETTERS: Final = "abcdefgh"

# Sizes for dynamic axes, most likely to work and most typical first. Lengths are those of sequences, features and
# samples: 4, 10, 13, 30 and 784 are the features of well-known data sets, 512 and 16000 are windows of audio. Sides are
# those of images: 224 is the usual one, 48 and 32 are the heights of text lines.
_LENGTHS: Final = (64, 16, 1, 4, 2, 3, 8, 10, 13, 30, 32, 128, 224, 256, 512, 768, 784, 1024, 4096, 16000)
_SIDES: Final = (224, 64, 32, 48, 16, 28, 8, 1, 640)
_CHANNELS: Final = (3, 1)
# Ranks to try for an input whose rank the graph does not declare.
_RANKS: Final = (2, 1, 3, 4, 0)
_IMAGE_RANK: Final = 4
# A model that has rejected this many different shapes is unlikely to accept the next one.
_MAX_SHAPES: Final = 128


class Values(Enum):
    """Which integers and strings to generate. Floating-point numbers are always in [0, 1)."""

    SMALL = 8
    """0 to 7, and words of three letters."""
    BINARY = 2
    """0 and 1, also as strings: for type ids, masks, and models that parse numbers from text."""
    ONE = 1
    """Always 1, also as string: for sizes, counts and positions that must not be 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Describes how to generate the inputs of a run.

    Attributes:
        names: Inputs to feed: those that are not optional.
        datatypes: Protocol datatype of each.
        shapes: Shape of each, all dimensions >= 0; without the batch axis if batched.
        batched: Whether a leading batch axis is added.
        values: Which values to generate.
        guessed: Whether some dimension is a guess, because the graph leaves it open.
    """

    names: tuple[str, ...]
    datatypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    batched: bool
    values: Values
    guessed: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of the inputs of one row, or of one run if there is no batch axis."""
        return sum(map(_tensor_bytes, self.datatypes, self.shapes))

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Input name -> full shape in a run of one row."""
        lead = (1,) if self.batched else ()
        return {name: (*lead, *shape) for name, shape in zip(self.names, self.shapes, strict=True)}

    def feeds(self, *, rows: int, seed: int) -> dict[str, NDArray[Any]]:
        """Generate the inputs of a run.

        Args:
            rows: Length of the batch axis; ignored if there is none.
            seed: Any number >= 0. Rows differ from each other as far as their datatype allows. With 0
                the first row holds the greatest integer everywhere, so that a model that does not accept it (a small
                vocabulary) fails at once, and not only at a later row.

        Returns:
            Input name -> new array [rows, ...], owned by the caller.
        """
        rng = np.random.default_rng(seed)
        lead = (rows,) if self.batched else ()
        drawn = {
            name: random_tensor(datatype, (*lead, *shape), rng=rng, values=self.values)
            for name, datatype, shape in zip(self.names, self.datatypes, self.shapes, strict=True)
        }
        if self.batched and seed == 0:
            for name, datatype in zip(self.names, self.datatypes, strict=True):
                if _is_integer(datatype):
                    drawn[name][:1] = self.values.value - 1 or 1
        return drawn


def random_tensor(
    datatype: str, shape: Sequence[int], *, rng: np.random.Generator, values: Values = Values.SMALL
) -> NDArray[Any]:
    """Generate a tensor of plausible values for a datatype.

    Args:
        datatype: Protocol name.
        shape: Dimensions, all >= 0.
        rng: Source of the values.
        values: Which integers and strings.

    Returns:
        A new array in the server's representation: BF16 as uint16 bits, BYTES as object array of ``str``.
    """
    size = tuple(shape)
    dtype = DATATYPES[datatype].dtype
    if datatype == "BYTES":
        return _strings(size, rng=rng, values=values)
    if datatype == "BF16":
        # BF16 is the upper half of FP32.
        return (rng.random(size, dtype=np.float32).view(np.uint32) >> np.uint32(16)).astype(dtype)
    if datatype == "BOOL":
        return np.asarray(rng.integers(0, 2, size) == 1, dtype=dtype)
    if dtype.kind == "f":
        # Rounding to FP16 may give 1.0, which does no harm.
        return np.asarray(rng.random(size, dtype=np.float64 if datatype == "FP64" else np.float32), dtype=dtype)
    if values is Values.ONE:
        return np.ones(size, dtype)
    return np.asarray(rng.integers(0, values.value, size), dtype=dtype)


def recipes(inputs: Sequence[TensorSpec], *, batched: bool, max_bytes: int) -> Iterator[Recipe]:
    """Yield candidates for the inputs of a model, most likely first; optional inputs are left out.

    Axes of the same name get the same size. Inputs of undeclared rank are tried in several ranks.

    Args:
        inputs: As the graph declares them.
        batched: Whether the first axis of every input is the batch axis. Requires: every fed input has one.
        max_bytes: Larger candidates are skipped, by the bytes of one row, or of one run if not batched.

    Yields:
        Different recipes, a bounded number. None at all where no candidate is within ``max_bytes``.
    """
    fed = [spec for spec in inputs if not spec.optional]
    # Only integers and strings have several kinds of values; models without them need one round.
    has_kinds = any(spec.datatype == "BYTES" or _is_integer(spec.datatype) for spec in fed)
    guessed = any(spec.shape is None or -1 in spec.shape[batched:] for spec in fed)
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for choice in _shape_choices():
        shapes = tuple(_shapes(fed, choice, batched=batched))
        if shapes in seen:
            continue
        if len(seen) == _MAX_SHAPES:
            return
        seen.add(shapes)
        for values in Values if has_kinds else (Values.SMALL,):
            recipe = Recipe(
                names=tuple(spec.name for spec in fed),
                datatypes=tuple(spec.datatype for spec in fed),
                shapes=shapes,
                batched=batched,
                values=values,
                guessed=guessed,
            )
            if recipe.row_bytes <= max_bytes:
                yield recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShapeChoice:
    """One set of choices for the dynamic axes of a signature."""

    length: int
    side: int
    channels: int
    rank: int
    inner: bool
    """Whether axes between first and last also get ``length``; else 1, as the batch of a recurrent state needs."""


def _shape_choices() -> Iterator[_ShapeChoice]:
    """Yield all combinations worth trying; for a given signature most give the same shapes."""
    pairs = [(length, _SIDES[0]) for length in _LENGTHS] + [(_LENGTHS[0], side) for side in _SIDES[1:]]
    for channels in _CHANNELS:
        for inner in (True, False):
            for length, side in pairs:
                for rank in _RANKS:
                    yield _ShapeChoice(length=length, side=side, channels=channels, rank=rank, inner=inner)


def _shapes(specs: Sequence[TensorSpec], choice: _ShapeChoice, *, batched: bool) -> Iterator[tuple[int, ...]]:
    """Yield the shape of each input for this choice, without the batch axis if batched."""
    sizes: dict[str, int] = {}
    for spec in specs:
        declared = (-1,) * choice.rank if spec.shape is None else spec.shape
        names = spec.dim_names if len(spec.dim_names) == len(declared) else ("",) * len(declared)
        shape = tuple(
            _named(sizes, name, _open_axis(axis, len(declared), choice)) if dim < 0 else dim
            for axis, (dim, name) in enumerate(zip(declared, names, strict=True))
        )
        yield shape[1:] if batched else shape


def _named(sizes: dict[str, int], name: str, size: int) -> int:
    """Return the size chosen earlier for this axis name, else the given one, which is then recorded."""
    return sizes.setdefault(name, size) if name else size


def _open_axis(axis: int, rank: int, choice: _ShapeChoice) -> int:
    """Return a size for one dynamic axis."""
    if axis == 0 and rank > 1:
        return 1
    if rank >= _IMAGE_RANK:
        return choice.channels if axis == 1 else choice.side
    return choice.length if axis == rank - 1 or choice.inner else 1


def _strings(size: tuple[int, ...], *, rng: np.random.Generator, values: Values) -> NDArray[Any]:
    """Generate short ASCII strings in an object array."""
    count = math.prod(size)
    words: list[str]
    if values is Values.ONE:
        words = ["1"] * count
    elif values is Values.BINARY:
        words = [str(digit) for digit in rng.integers(0, 2, count)]
    else:
        words = ["".join(_STRING_LETTERS[index] for index in word) for word in rng.integers(0, 8, (count, 3))]
    return object_array(words, size)


def _is_integer(datatype: str) -> bool:
    return DATATYPES[datatype].minimum is not None


def _tensor_bytes(datatype: str, shape: Sequence[int]) -> int:
    """Bytes in memory. A Python integer: it may exceed the size of any array."""
    return math.prod(shape) * (_STRING_BYTES if datatype == "BYTES" else DATATYPES[datatype].itemsize)
