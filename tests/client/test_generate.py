"""What the generator writes: Python that compiles, type checks and stays as it is, whatever models are called."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sardonyx_client import BadResponse
from sardonyx_client.generate import MARK, generate
from sardonyx_client.generated import ModelSignature, TensorSpec
from sardonyx_wire.datatypes import DATATYPES
from tests.client.generated_code import NASTY, imported, signature, write

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(str(ROOT / folder) for folder in ("protos", "client"))

# Each line that ends so must be refused, and no other.
WRONG = "# wrong"
USER = f"""\
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from sardonyx_client import AsyncClient, Client

from package import AsyncIris, BasicPitch, Iris, IrisInputs, IrisOutputs, Model486

ROWS = np.zeros((1, 4), np.float32)
WIDE = np.zeros((1, 4), np.float64)


def sync(client: Client, text: NDArray[np.object_]) -> NDArray[np.float32]:
    iris = Iris(client, version=3)
    iris.check(timeout_s=None)
    outputs = iris.infer(ROWS, timeout_s=1.0, request_id="r", parameters={{"priority": 1}})
    assert_type(outputs, IrisOutputs)
    assert_type(outputs.label, NDArray[np.int64])
    assert_type(outputs.text, NDArray[np.object_])
    assert_type(outputs.result.request_id, str)
    for each in iris.infer_many([IrisInputs(X=ROWS, mask=None)], window=2):
        assert_type(each, IrisOutputs)
    assert_type(iris.infer(X=ROWS, mask=np.zeros(1, np.bool_)), IrisOutputs)
    BasicPitch(client).infer(serving_default_input_2_0=ROWS).StatefulPartitionedCall_0
    iris.infer(WIDE)  {WRONG}
    iris.infer()  {WRONG}
    iris.infer(ROWS, odd=1)  {WRONG}
    outputs.label = ROWS  {WRONG}
    outputs.labels  {WRONG}
    Iris(AsyncClient())  {WRONG}
    Model486(client).infer(input_486=text)  {WRONG}
    return outputs.probabilities


async def asynchronous(client: AsyncClient) -> None:
    iris = AsyncIris(client)
    await iris.check()
    assert_type(await iris.infer(ROWS), IrisOutputs)
    async for each in iris.infer_many([IrisInputs(X=ROWS)]):
        assert_type(each, IrisOutputs)
    AsyncIris(Client())  {WRONG}
"""
IRIS = ModelSignature(
    model="iris",
    inputs=(
        TensorSpec(name="mask", datatype="BOOL", shape=(-1,), optional=True),
        TensorSpec(name="X", datatype="FP32", shape=(-1, 4), dim_names=("rows", "")),
    ),
    outputs=(
        TensorSpec(name="label", datatype="INT64", shape=(-1,), labels=("setosa", "versicolor", "virginica")),
        TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 3)),
        TensorSpec(name="text", datatype="BYTES", shape=None),
    ),
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with nasty names, and one that a program uses."""
    folder = tmp_path_factory.mktemp("user")
    write(folder / "package", IRIS, *(each for each in NASTY if each.model not in {"Iris", "iris"}))
    (folder / "user.py").write_text(USER)
    return folder


def wrong_lines() -> set[int]:
    """Numbers of the lines of USER that a type checker must refuse."""
    return {number for number, line in enumerate(USER.splitlines(), 1) if line.endswith(WRONG)}


@pytest.mark.slow
def test_it_passes_mypy_strict(package: Path) -> None:
    """And mypy sees through it: what does not fit a model is refused where it is written, and nothing else."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(package / ".cache"), "package", "user.py"],
        cwd=package,
        env=os.environ | {"MYPYPATH": PATHS},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert {line.split(":")[0] for line in errors} == {"user.py"}, done.stdout + done.stderr
    assert {int(line.split(":")[1]) for line in errors} == wrong_lines(), done.stdout


@pytest.mark.slow
def test_it_passes_pyright_strict(package: Path) -> None:
    """Likewise."""
    pytest.importorskip("pyright")
    paths = ", ".join(f'"{path}"' for path in PATHS.split(os.pathsep))
    (package / "pyrightconfig.json").write_text(
        f'{{"include": ["package", "user.py"], "typeCheckingMode": "strict", "extraPaths": [{paths}], '
        '"reportUnusedExpression": "none"}'
    )
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", "."],
        cwd=package,
        env=os.environ | {"PYRIGHT_PYTHON_GLOBAL_NODE": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line.strip() for line in done.stdout.splitlines() if " - error:" in line]
    assert {Path(line.split(":")[0]).name for line in errors} == {"user.py"}, done.stdout + done.stderr
    assert {int(line.split(":")[1]) for line in errors} == wrong_lines(), done.stdout


@pytest.mark.parametrize("length", [79, 88, 120, 320])
def test_a_formatter_leaves_it_alone(package: Path, length: int) -> None:
    """At whatever line length a project has."""
    pytest.importorskip("ruff")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={length}", "--diff", "package"],
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_the_same_models_give_the_same_files() -> None:
    """In whatever order they come."""
    assert generate(NASTY) == generate(reversed(NASTY))


def test_nasty_names_stay_what_they_are_on_the_wire(tmp_path: Path) -> None:
    """Only their names in Python differ."""
    with imported(write(tmp_path / "package", *NASTY)) as package:
        assert package.BasicPitch.__doc__.startswith("Calls model 'basic-pitch' with a Client.")
        fields = [field.name for field in dataclasses.fields(package.BasicPitchOutputs)]
        assert fields == [*(f"StatefulPartitionedCall_{index}" for index in range(3)), "result"]
        assert " ".join(("floor(floor(floor(frames/320 - 1/2)/2)/2) + 1 " * 12).split()) in " ".join(
            package.BasicPitchOutputs.__doc__.split()
        )
        assert 'a "b" \\' in package.BasicPitchOutputs.__doc__
        assert [field.name for field in dataclasses.fields(package.Model486Inputs)] == [
            "input_486",
            "class_",
            "a_b",
            "a_b_2",
            "np_",
            "NDArray_",
            "self_",
            "timeout_s_",
            "Model486Inputs_2",
            "x",
            "input",
            "x_y",
            "input_2",
            "模型" * 7 + "模",
            "int",
            "x" * 30,
            "fi",
            "fi_2",
            "parameters_",
            "x_2",
        ]
        found = [vars(sys.modules[package.__name__ + "." + name])["SIGNATURE"] for name in modules(package)]
    assert {each.model: (each.inputs, each.outputs) for each in found} == {
        each.model: (plain(each.inputs), plain(each.outputs)) for each in NASTY
    }


def modules(package: Any) -> list[str]:
    """Names of the modules of a package, one for each model."""
    return [path.stem for path in Path(package.__file__).parent.glob("_*.py") if path.stem != "__init__"]


def plain(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """What code knows of tensors: names of axes and labels are for people."""
    return tuple(TensorSpec(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in specs)


shapes = st.none() | st.lists(st.integers(-1, 2**62), max_size=9).map(tuple)
tensors = st.dictionaries(st.text(max_size=40), st.tuples(st.sampled_from(list(DATATYPES)), shapes), max_size=4)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.text(max_size=40), st.tuples(tensors, tensors), min_size=1, max_size=4))
def test_any_names_give_code_that_compiles_and_says_what_the_model_says(models: dict[str, Any]) -> None:
    """Without a warning, and with as many arguments and fields as the model has tensors."""
    wanted = [
        signature(model, *([(name, *form) for name, form in side.items()] for side in sides))
        for model, sides in models.items()
    ]
    files = generate(wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spaces = [run(text) for name, text in files.items() if name not in {"__init__.py", "py.typed"}]
        compile(files["__init__.py"], "__init__.py", "exec")
    found = {space["SIGNATURE"].model: space for space in spaces}
    assert found.keys() == models.keys()
    for each in wanted:
        space = found[each.model]
        assert {spec.name: spec for spec in space["SIGNATURE"].inputs} == {spec.name: spec for spec in each.inputs}
        assert space["SIGNATURE"].outputs == each.outputs
        inputs, outputs = (
            next(value for name, value in space.items() if name.endswith(end) and isinstance(value, type))
            for end in ("Inputs", "Outputs")
        )
        assert len(dataclasses.fields(inputs)) == len(each.inputs)
        assert len(dataclasses.fields(outputs)) == len(each.outputs) + 1
    public = [name for space in spaces for name in space if name.endswith(("Inputs", "Outputs"))]
    assert len(set(public)) == len(public)


def run(text: str) -> dict[str, Any]:
    """Names that a module defines."""
    space: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, "generated", "exec"), space)  # noqa: S102  # made by the generator a moment ago
    return {name: value for name, value in space.items() if getattr(value, "__module__", __name__) == __name__} | {
        "SIGNATURE": space["SIGNATURE"]
    }


def test_a_model_that_is_added_renames_no_class_by_a_longer_name() -> None:
    """What a program imports goes on to mean the same model."""
    tensors = [("x", "FP32", ())]
    several = [signature(model, tensors, tensors) for model in ("async-iris", "iris", "iris_outputs", "iris_inputs")]
    files = generate(several)
    assert "class Iris:\n" in files["_iris.py"]
    assert generate(several[1:2])["_iris.py"] == files["_iris.py"]


def test_optional_inputs_come_last_and_default_to_none() -> None:
    """Their names say what may be left out; labels and names of axes are told to people."""
    text = generate([IRIS])["_iris.py"]
    assert "        X: NDArray[np.float32],\n        mask: NDArray[np.bool_] | None = None,\n        *,\n" in text
    assert "        X: FP32 [rows,4].\n        mask: BOOL [-1]; None = the model's own value.\n" in text
    assert "        label: INT64 [-1]. Labels: setosa, versicolor, virginica.\n" in text
    assert text.startswith(MARK)


def test_what_the_protocol_does_not_have_is_refused() -> None:
    """By name: a server that is not ours may say anything."""
    with pytest.raises(BadResponse, match=r"^output 'y' of model 'm' is 'COMPLEX64', expected one of BOOL, "):
        generate([signature("m", [], [("y", "COMPLEX64", ())])])
    with pytest.raises(BadResponse, match=r"^input 'x' of model 'm' is there twice$"):
        generate([signature("m", [("x", "FP32", ()), ("x", "FP32", ())], [])])


def test_the_client_itself_does_not_load_the_generator() -> None:
    """Nor what generated code stands on: who imports the client wants it soon."""
    code = "import sys, sardonyx_client; print([n for n in sys.modules if 'generate' in n and 'sardonyx' in n])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": PATHS},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert importlib.util.find_spec("sardonyx_client.generate") is not None
