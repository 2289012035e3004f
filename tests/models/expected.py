"""Held-out rows of the sample models and what scikit-learn answers for them; shared with the end-to-end tests.

A model is trained once per test session (about three seconds for all five).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.build import NAMES, Built, build

__all__ = ["NAMES", "REPOSITORY", "Tensors", "assert_answers", "built", "card", "card_example", "committed_file"]

REPOSITORY: Final = Path(__file__).resolve().parents[2] / "models"

Tensors = Mapping[str, np.ndarray[Any, Any]]

# scikit-learn calculates in FP64, the served model in FP32: probabilities stay within a few units of 2**-24 (5e-7 was
# seen in digits). Progression is around 150, where one unit of FP32 is 1.5e-5: there the relative bound holds.
ABSOLUTE: Final = 1e-5
RELATIVE: Final = 1e-5


@cache
def built(name: str) -> Built:
    """Return sample model ``name``, trained here and now: its rows, and what scikit-learn answers for them."""
    return build(name)


def committed_file(name: str) -> Path:
    """Return the model file that is committed."""
    return REPOSITORY / name / "1" / "model.onnx"


def assert_answers(name: str, answers: Tensors, expected: Tensors | None = None) -> None:
    """Hold answers against scikit-learn's, row by row: labels exactly, numbers within rounding.

    Args:
        name: A sample model.
        answers: Output name -> array [rows, ...]. BYTES as ``str`` or as ``bytes`` objects.
        expected: Output name -> array; None means what scikit-learn answers for all of ``built(name).rows``.
    """
    wanted = built(name).expected if expected is None else expected
    assert set(answers) == set(wanted)
    for output, want in wanted.items():
        got = answers[output]
        assert got.shape == want.shape, output
        if want.dtype == object:
            text = [item.decode() if isinstance(item, bytes) else item for item in got.ravel()]
            assert text == want.ravel().tolist(), output
        elif want.dtype.kind == "f":
            assert got.dtype == np.float32, output
            np.testing.assert_allclose(got, want, rtol=RELATIVE, atol=ABSOLUTE, err_msg=output)
        else:
            assert got.dtype == want.dtype, output
            np.testing.assert_array_equal(got, want, err_msg=output)


def card(name: str) -> str:
    """Return the text of a model's card."""
    return (REPOSITORY / name / "README.md").read_text(encoding="utf-8")


def card_example(name: str) -> tuple[Tensors, Tensors]:
    """Return inputs and outputs of the example in a model's card, as arrays of the model's datatypes."""
    found = re.search(r"```json\n(.*?)```", card(name), re.DOTALL)
    assert found is not None, f"the card of {name} has no example"
    example = json.loads(found[1])
    model = built(name)
    return (
        {tensor: np.array(values, model.rows[tensor].dtype) for tensor, values in example["inputs"].items()},
        {tensor: np.array(values, model.expected[tensor].dtype) for tensor, values in example["outputs"].items()},
    )
