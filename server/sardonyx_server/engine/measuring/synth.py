"""Makes up inputs for a model from its signature alone: shapes where the graph leaves them open, then values.

Deterministic: the same signature gives the same candidates in the same order, and the same seed the same values.
Does not run anything: whether a candidate suits the model is found out by whoever runs it.
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

__all__ = ["Recipe", "Values", "fill", "recipes"]

# What a `str` of a few ASCII letters and its place in an object array take.
_STRING_BYTES: Final = 64
_STRING_LETTERS: Final = "abcdefgh"

# Sizes for axes that are left open, the likeliest to run and to be typical first. Lengths of sequences, features and
# samples: 4, 10, 13, 30 and 784 are the features of well-known data sets, 512 and 16000 windows of audio. Sides of
# images: 224 is the usual one, 48 and 32 are the heights of text lines.
_LENGTHS: Final = (64, 16, 1, 4, 2, 3, 8, 10, 13, 30, 32, 128, 224, 256, 512, 768, 784, 1024, 4096, 16000)
_SIDES: Final = (224, 64, 32, 48, 16, 28, 8, 1, 640)
_CHANNELS: Final = (3, 1)
# Ranks for an input whose rank the graph does not declare.
_RANKS: Final = (2, 1, 3, 4, 0)
_IMAGE_RANK: Final = 4
# A model that refuses this many different shapes is not going to take the next one.
_MAX_SHAPES: Final = 128


class Values(Enum):
    """Which whole numbers and strings to draw. Floating point numbers are always in [0, 1)."""

    SMALL = 8
    """0 to 7, and words of three letters."""
    BINARY = 2
    """0 and 1, also as strings: type ids, masks, and models that read numbers from text."""
    ONE = 1
    """Always 1, also as string: sizes, counts and positions that must not be 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A way to make the inputs of one run.

    Attributes:
        names: Inputs that are fed: those that are not optional.
        datatypes: Protocol datatype of each.
        shapes: Every dimension of each, all >= 0; of one row without the batch axis where batched.
        batched: A leading axis for the rows is added.
        values: Which values to draw.
        guessed: Some dimension is a choice of ours.
    """

    names: tuple[str, ...]
    datatypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    batched: bool
    values: Values
    guessed: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of the inputs of one row, or of one run where there is no batch axis."""
        return sum(map(_tensor_bytes, self.datatypes, self.shapes))

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> full shape of a run of one row."""
        lead = (1,) if self.batched else ()
        return {name: (*lead, *shape) for name, shape in zip(self.names, self.shapes, strict=True)}

    def feeds(self, *, rows: int, seed: int) -> dict[str, NDArray[Any]]:
        """Draw the inputs of a run.

        Args:
            rows: Length of the batch axis; has no meaning where the recipe has none.
            seed: Any number >= 0. The rows of one draw differ from each other, as far as their datatype allows. With 0
                the first row holds the greatest whole number everywhere, so that a model that has no room for it (a
                small vocabulary) refuses at once, and not some later row.

        Returns:
            Name -> array [rows, ...], new, owned by the caller.
        """
        rng = np.random.default_rng(seed)
        lead = (rows,) if self.batched else ()
        drawn = {
            name: fill(datatype, (*lead, *shape), rng=rng, values=self.values)
            for name, datatype, shape in zip(self.names, self.datatypes, self.shapes, strict=True)
        }
        if self.batched and seed == 0:
            for name, datatype in zip(self.names, self.datatypes, strict=True):
                if _is_whole(datatype):
                    drawn[name][:1] = self.values.value - 1 or 1
        return drawn


def fill(
    datatype: str, shape: Sequence[int], *, rng: np.random.Generator, values: Values = Values.SMALL
) -> NDArray[Any]:
    """Draw a tensor of values that are plausible for its datatype.

    Args:
        datatype: Protocol name.
        shape: Dimensions, all >= 0.
        rng: Where the values come from.
        values: Which whole numbers and strings.

    Returns:
        A new array in the server's own form: BF16 as uint16 bits, BYTES as object array of ``str``.
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
        # Rounding to FP16 may give 1.0: nothing depends on the open end.
        return np.asarray(rng.random(size, dtype=np.float64 if datatype == "FP64" else np.float32), dtype=dtype)
    if values is Values.ONE:
        return np.ones(size, dtype)
    return np.asarray(rng.integers(0, values.value, size), dtype=dtype)


def recipes(inputs: Sequence[TensorSpec], *, batched: bool, max_bytes: int) -> Iterator[Recipe]:
    """Candidates for the inputs of a model, the likeliest first; optional inputs are left out.

    Axes of the same name get the same size. Inputs of undeclared rank are tried in several ranks.

    Args:
        inputs: As the graph declares them.
        batched: The first axis of every input is the batch axis. Requires: every input that is fed has one.
        max_bytes: Candidates of which one row, or one run where not batched, takes more bytes are passed over.

    Yields:
        Different recipes, a bounded number. None at all where no candidate is within ``max_bytes``.
    """
    fed = [spec for spec in inputs if not spec.optional]
    # Whole numbers and strings come in kinds; models without them need only one round.
    drawn = any(spec.datatype == "BYTES" or _is_whole(spec.datatype) for spec in fed)
    guessed = any(spec.shape is None or -1 in spec.shape[batched:] for spec in fed)
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for style in _styles():
        shapes = tuple(_shapes(fed, style, batched=batched))
        if shapes in seen:
            continue
        if len(seen) == _MAX_SHAPES:
            return
        seen.add(shapes)
        for values in Values if drawn else (Values.SMALL,):
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
class _Style:
    """One set of choices for all that a signature leaves open."""

    length: int
    side: int
    channels: int
    rank: int
    inner: bool
    """Axes between the first and the last get ``length`` too; else 1, as the batch of a recurrent state needs."""


def _styles() -> Iterator[_Style]:
    """Every combination worth a try; most fall together for a given signature."""
    pairs = [(length, _SIDES[0]) for length in _LENGTHS] + [(_LENGTHS[0], side) for side in _SIDES[1:]]
    for channels in _CHANNELS:
        for inner in (True, False):
            for length, side in pairs:
                for rank in _RANKS:
                    yield _Style(length=length, side=side, channels=channels, rank=rank, inner=inner)


def _shapes(specs: Sequence[TensorSpec], style: _Style, *, batched: bool) -> Iterator[tuple[int, ...]]:
    """The shape of each input in this style, without the batch axis where batched."""
    sizes: dict[str, int] = {}
    for spec in specs:
        declared = (-1,) * style.rank if spec.shape is None else spec.shape
        names = spec.dim_names if len(spec.dim_names) == len(declared) else ("",) * len(declared)
        shape = tuple(
            _named(sizes, name, _open_axis(axis, len(declared), style)) if dim < 0 else dim
            for axis, (dim, name) in enumerate(zip(declared, names, strict=True))
        )
        yield shape[1:] if batched else shape


def _named(sizes: dict[str, int], name: str, size: int) -> int:
    """The size that this name has already, else the one given, which it then keeps."""
    return sizes.setdefault(name, size) if name else size


def _open_axis(axis: int, rank: int, style: _Style) -> int:
    """A size for one axis that the graph leaves open."""
    if axis == 0 and rank > 1:
        return 1
    if rank >= _IMAGE_RANK:
        return style.channels if axis == 1 else style.side
    return style.length if axis == rank - 1 or style.inner else 1


def _strings(size: tuple[int, ...], *, rng: np.random.Generator, values: Values) -> NDArray[Any]:
    """Short ASCII strings in an object array."""
    count = math.prod(size)
    words: list[str]
    if values is Values.ONE:
        words = ["1"] * count
    elif values is Values.BINARY:
        words = [str(digit) for digit in rng.integers(0, 2, count)]
    else:
        words = ["".join(_STRING_LETTERS[index] for index in word) for word in rng.integers(0, 8, (count, 3))]
    return object_array(words, size)


def _is_whole(datatype: str) -> bool:
    return DATATYPES[datatype].minimum is not None


def _tensor_bytes(datatype: str, shape: Sequence[int]) -> int:
    """Bytes in memory, as a Python integer: it may be larger than any array."""
    return math.prod(shape) * (_STRING_BYTES if datatype == "BYTES" else DATATYPES[datatype].itemsize)
