"""ONNX's own node tests, sorted by what the protocol can carry. Runs no model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import TensorProto, numpy_helper

from tests.conformance.contents import Contents, contents_of
from tests.e2e.models import ELEMENT_TYPES

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["RANDOM_CASES", "NodeCase", "Skipped", "Why", "node_cases"]

_DRAWS: Final = "draws random numbers, other ones in each run"
RANDOM_CASES: Final[Mapping[str, str]] = dict.fromkeys(
    (
        "test_bernoulli",
        "test_bernoulli_double",
        "test_bernoulli_double_expanded",
        "test_bernoulli_expanded",
        "test_bernoulli_seed",
        "test_bernoulli_seed_expanded",
        "test_training_dropout",
        "test_training_dropout_default",
        "test_training_dropout_default_mask",
        "test_training_dropout_mask",
    ),
    _DRAWS,
)
"""Cases whose answer is another one each time, and why; a seed fixes only the first run of a session."""

_DATATYPES: Final[Mapping[int, str]] = {element: datatype for datatype, element in ELEMENT_TYPES.items()}
_KINDS: Final = {"sequence_type": "sequence", "optional_type": "optional", "map_type": "map"}


class Why(StrEnum):
    """Why a case is not sent."""

    PROTOCOL = "the protocol cannot carry it"
    ONNXRUNTIME = "onnxruntime does not run it"
    RANDOM = "each run gives another answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCase:
    """One test of ONNX: a model, and what to send to it.

    Attributes:
        name: ONNX's own.
        model: The file.
        outputs: Name -> datatype, in the graph's order.
        requests: For each set of data the inputs, name -> contents.
    """

    name: str
    model: bytes
    outputs: Mapping[str, str]
    requests: tuple[Mapping[str, Contents], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A case that is not sent.

    Attributes:
        name: ONNX's own.
        why: Whose limit it is: the protocol's, onnxruntime's, or that the case has no one answer.
        reason: In words; those of the protocol are shared by many cases.
        model: The file.
    """

    name: str
    why: Why
    reason: str
    model: bytes


def node_cases() -> list[NodeCase | Skipped]:
    """Every case, in ONNX's order. Takes some seconds: ONNX computes what it expects."""
    with warnings.catch_warnings():
        # Its reference divides by zero and overflows where that is the point of a test.
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [_sorted_in(case) for case in collect_testcases(None)]


def _sorted_in(case: Any) -> NodeCase | Skipped:  # a TestCase, which onnx does not type
    model: ModelProto = case.model
    values = (*model.graph.input, *model.graph.output)
    file = model.SerializeToString()
    uncarried = sorted({kind for kind in map(_uncarried, values) if kind})
    if uncarried:
        return Skipped(name=case.name, why=Why.PROTOCOL, reason=f"it has no {uncarried[0]}", model=file)
    if case.name in RANDOM_CASES:
        return Skipped(name=case.name, why=Why.RANDOM, reason=RANDOM_CASES[case.name], model=file)
    return NodeCase(
        name=case.name,
        model=file,
        outputs={value.name: _datatype(value) for value in model.graph.output},
        requests=tuple(
            {
                value.name: contents_of(_array(given), _datatype(value))
                for value, given in zip(model.graph.input, inputs, strict=True)
            }
            for inputs, _expected in case.data_sets
        ),
    )


def _uncarried(value: ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return _KINDS[kind]
    element = value.type.tensor_type.elem_type
    return "" if element in _DATATYPES else TensorProto.DataType.Name(element)


def _datatype(value: ValueInfoProto) -> str:
    return _DATATYPES[value.type.tensor_type.elem_type]


def _array(given: Any) -> Any:
    return numpy_helper.to_array(given) if isinstance(given, TensorProto) else np.asarray(given)
