"""Packages that the generator writes, for tests: written to a folder, imported, looked at."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from sardonyx_client.generate import generate
from sardonyx_client.generated import ModelSignature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["NASTY", "imported", "signature", "write"]

_NUMBERS = count()


def signature(
    model: str, inputs: Sequence[tuple[str, str, Any]], outputs: Sequence[tuple[str, str, Any]]
) -> ModelSignature:
    """From (name, datatype, shape) of each tensor."""

    def specs(rows: Sequence[tuple[str, str, Any]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name=name, datatype=datatype, shape=shape) for name, datatype, shape in rows)

    return ModelSignature(model=model, inputs=specs(inputs), outputs=specs(outputs))


def write(folder: Path, *signatures: ModelSignature) -> Path:
    """Generate a package."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in generate(signatures).items():
        (folder / name).write_bytes(text.encode())
    return folder


@contextmanager
def imported(folder: Path) -> Iterator[Any]:
    """The package in a folder, under a name that no other has; forgotten at the end."""
    name = f"generated_{next(_NUMBERS)}"
    target = folder.rename(folder.with_name(name))
    sys.path.insert(0, str(target.parent))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(target.parent))
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[module]


_LONG = "floor(floor(floor(frames/320 - 1/2)/2)/2) + 1 "
# Names and dimensions as exporters write them, and as nobody should.
NASTY: Final = (
    ModelSignature(
        model="basic-pitch",
        inputs=(
            TensorSpec(
                name="serving_default_input_2:0",
                datatype="FP32",
                shape=(-1, 43844, 1),
                dim_names=("unk__" * 40, "", ""),
            ),
        ),
        outputs=tuple(
            TensorSpec(
                name=f"StatefulPartitionedCall:{index}",
                datatype="FP32",
                shape=(-1, -1, 88),
                dim_names=(_LONG * 12, 'a "b" \\', ""),
                labels=tuple(f"label {number}" for number in range(214)),
            )
            for index in range(3)
        ),
    ),
    signature(
        "486",
        [
            ("486", "BYTES", None),
            ("class", "BF16", ()),
            ("a/b", "BOOL", (1,) * 32),
            ("a.b", "FP16", (-1, 2**62, 2**62, 2**62, 2**62)),
            ("np", "INT8", (0,)),
            ("NDArray", "INT16", (0,)),
            ("self", "UINT64", (1,)),
            ("timeout_s", "UINT64", (1,)),
            ("Model486Inputs", "UINT64", (1,)),
            ("__x", "FP64", ()),
            ('"""\\', "FP64", ()),
            ("x\ny\u2028", "FP64", ()),
            ("", "FP64", ()),
            ("模型" * 60, "BYTES", (1,)),
            ("int", "FP32", (1,)),
            ("x" * 300, "BYTES", (1,)),
            ("ﬁ", "UINT8", (1,)),
            ("fi", "UINT8", (1,)),
            ("$parameters", "UINT8", (1,)),
            ("{x}", "UINT8", (1,)),
        ],
        [("result", "BF16", (-1,)), ("result_", "BYTES", (-1,)), ("match", "UINT16", None)],
    ),
    *(
        signature(model, [("x", "FP32", (-1,))], [("x", "FP32", (-1,))])
        for model in (
            "client",
            "async_client",
            "None",
            "none",
            "模型",
            "iris",
            "Iris",
            "iris_outputs",
            "async-iris",
            "a'b\"c\\ d",
            '"""',
            "$subject",
            "__init__",
            "z" * 255,
            "🙂",
        )
    ),
)
