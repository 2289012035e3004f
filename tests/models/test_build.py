"""The sample repository: what is committed is what ``models/build.py`` makes, and answers as scikit-learn does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format

from models.build import build, main, write
from sardonyx_wire.messages import ModelConfig
from tests.models.expected import (
    NAMES,
    REPOSITORY,
    Tensors,
    assert_answers,
    built,
    card,
    card_example,
    committed_file,
)

if TYPE_CHECKING:
    from pathlib import Path

every_model = pytest.mark.parametrize("name", NAMES)


@cache
def session(name: str) -> onnxruntime.InferenceSession:
    """Return a session on the committed file."""
    return onnxruntime.InferenceSession(committed_file(name), providers=["CPUExecutionProvider"])


def run(name: str, rows: Tensors) -> dict[str, np.ndarray]:
    """Run the committed file."""
    names = [output.name for output in session(name).get_outputs()]
    return dict(zip(names, session(name).run(names, dict(rows)), strict=True))


def test_the_repository_holds_the_models_that_build_makes() -> None:
    """No folder without a recipe, no recipe without a folder."""
    folders = {path.name for path in REPOSITORY.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(NAMES)


def test_the_repository_stays_under_a_megabyte() -> None:
    """A clone stays small."""
    files = [path for path in REPOSITORY.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 1_000_000


@every_model
def test_committed_model_answers_as_scikit_learn_on_every_held_out_row(name: str) -> None:
    """Labels are equal, numbers within rounding."""
    assert_answers(name, run(name, built(name).rows))


@every_model
def test_rebuilt_model_answers_as_the_committed_one(name: str) -> None:
    """Training here gives the same model but for rounding, whatever the processor."""
    rebuilt = onnxruntime.InferenceSession(built(name).model_bytes, providers=["CPUExecutionProvider"])
    names = [output.name for output in rebuilt.get_outputs()]
    rows = built(name).rows
    assert_answers(name, dict(zip(names, rebuilt.run(names, dict(rows)), strict=True)), run(name, rows))


@every_model
def test_building_again_gives_the_same_bytes(name: str) -> None:
    """Nothing in a file depends on the time or on chance."""
    assert build(name).model_bytes == built(name).model_bytes


def test_building_in_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    """Nothing in a file depends on the order of a set, which differs from process to process."""
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, REPOSITORY / "build.py", "--out", tmp_path / seed, "iris", "penguins", "diabetes"],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
    for name in ("iris", "penguins", "diabetes"):
        one, other = (tmp_path / seed / name / "1" / "model.onnx" for seed in ("1", "2"))
        assert one.read_bytes() == other.read_bytes()


@every_model
def test_every_row_alone_answers_as_in_a_batch(name: str) -> None:
    """Rows do not touch each other: the server may batch them."""
    rows = built(name).rows
    apart = [run(name, {tensor: values[at : at + 1] for tensor, values in rows.items()}) for at in range(20)]
    together = {output: np.concatenate([answer[output] for answer in apart]) for output in apart[0]}
    assert_answers(name, together, {output: values[:20] for output, values in built(name).expected.items()})


@every_model
def test_graph_is_valid_and_names_its_batch_axis(name: str) -> None:
    """Every input and output is a tensor [rows, ...]; no sequences of maps."""
    model = onnx.load(committed_file(name))
    onnx.checker.check_model(model, full_check=True)
    for tensor in (*model.graph.input, *model.graph.output):
        assert tensor.type.WhichOneof("value") == "tensor_type"
        assert tensor.type.tensor_type.shape.dim[0].dim_param == "rows"


@every_model
def test_no_model_needs_a_locale(name: str) -> None:
    """StringNormalizer loads only where its locale is installed, so none may be in a graph."""
    assert "StringNormalizer" not in {node.op_type for node in onnx.load(committed_file(name)).graph.node}


@every_model
def test_card_states_the_quality_that_is_true(name: str) -> None:
    """The committed file, on the held-out rows, reaches what its card says, to the fourth decimal."""
    model = built(name)
    stated = re.search(r"(accuracy|R2) (\d\.\d{4}) on (\d+) held-out\s+rows", card(name))
    assert stated is not None
    answers = run(name, model.rows)
    if stated[1] == "accuracy":
        score = float(np.mean(answers["label"] == model.truth))
    else:
        residual = model.truth - answers["progression"][:, 0]
        score = 1 - float(np.sum(residual**2) / np.sum((model.truth - model.truth.mean()) ** 2))
    assert f"{score:.4f}" == stated[2]
    assert len(model.truth) == int(stated[3])
    assert score == pytest.approx(model.score, abs=1e-6)


def test_card_of_diabetes_states_the_errors_that_are_true() -> None:
    """Mean absolute error of the model, and of always answering the mean."""
    model = built("diabetes")
    error = np.abs(run("diabetes", model.rows)["progression"][:, 0] - model.truth).mean()
    baseline = np.abs(model.truth - model.truth.mean()).mean()
    assert f"mean absolute error is {error:.0f}, where always answering the mean gives {baseline:.0f}" in card(
        "diabetes"
    )


@every_model
def test_example_of_the_card_works(name: str) -> None:
    """Inputs of the example give its outputs, to the four decimals that are printed."""
    inputs, outputs = card_example(name)
    answers = run(name, inputs)
    assert set(answers) == set(outputs)
    for output, want in outputs.items():
        if want.dtype.kind == "f":
            np.testing.assert_allclose(answers[output], want, atol=6e-5)
        else:
            assert answers[output].tolist() == want.tolist()


@every_model
def test_card_tells_data_and_licence(name: str) -> None:
    """Who takes a model elsewhere knows what it is made of."""
    for word in ("**Data**", "**Licence of the model", "**Quality**"):
        assert word in card(name)


@pytest.mark.parametrize("name", ["digits", "wine"])
def test_config_agrees_with_the_graph_and_names_every_class(name: str) -> None:
    """Output, datatype, dims without the batch axis and the number of labels fit."""
    folder = REPOSITORY / name
    config = text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), ModelConfig())
    (output,) = config.output
    declared = {tensor.name: tensor for tensor in session(name).get_outputs()}[output.name]
    assert declared.type == "tensor(float)"
    assert list(output.dims) == declared.shape[1:]
    labels = (folder / output.label_filename).read_text(encoding="utf-8").splitlines()
    assert len(labels) == output.dims[0]


@pytest.mark.parametrize("island", ["Atlantis", "", "Törgersen"])
def test_penguins_of_unknown_islands_are_judged_by_their_measurements(island: str) -> None:
    """Text that was never seen in training is no error."""
    inputs, outputs = card_example("penguins")
    answers = run("penguins", {**inputs, "island": np.array([[island]], object)})
    assert answers["label"].tolist() == outputs["label"].tolist()


def test_write_brings_card_labels_and_config_to_another_folder(tmp_path: Path) -> None:
    """What --out makes is a complete repository."""
    file = write(built("digits"), tmp_path)
    assert file == tmp_path / "digits" / "1" / "model.onnx"
    assert file.read_bytes() == built("digits").model_bytes
    assert {path.name for path in (tmp_path / "digits").iterdir()} == {"1", "README.md", "config.pbtxt", "labels.txt"}


def test_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, size, rows and score of what was built, and nothing else is built."""
    assert main(["--out", str(tmp_path), "iris"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "bytes", "held-out", "rows", "score"]
    assert line.split() == ["iris", str(len(built("iris").model_bytes)), "50", "0.9600"]
    assert [path.name for path in tmp_path.iterdir()] == ["iris"]


def test_command_refuses_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what there is."""
    with pytest.raises(SystemExit) as stopped:
        main(["tulips"])
    assert stopped.value.code == 2
    expected = "unknown model 'tulips': expected one of diabetes, digits, iris, penguins, wine"
    assert expected in capsys.readouterr().err
