"""Makes the sample repository: trains five small scikit-learn models and writes them as ONNX. Serves nothing.

    python models/build.py [--out DIR] [NAME...]

Seeds are fixed and numerical libraries held to one thread, so that the same versions of the libraries on the same kind
of processor give the same bytes. Other processors round differently, and training can amplify that: compare predictions
there, not bytes. Cards, labels and configs beside the models are written by hand; ``--out`` copies them.
"""

from __future__ import annotations

import argparse
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_wine
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["NAMES", "Built", "build", "write"]

HERE: Final = Path(__file__).resolve().parent
SEED: Final = 20_240_229
HELD_OUT: Final = 1 / 3
# Upper bounds, so that old runtimes can load the files: ONNX 1.12. The converter declares what each model really needs.
OPSETS: Final = {"": 17, "ai.onnx.ml": 3}
IR_VERSION: Final = 8

Tensors = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One trained model and the rows it never saw.

    Attributes:
        name: Folder of the model in the repository.
        model_bytes: The ONNX file.
        estimator: The fitted scikit-learn estimator that the file was made from.
        rows: Held-out rows as the served model takes them: input name -> array [rows, ...]; text is ``str``.
        truth: What the data set says about these rows.
        expected: What ``estimator`` answers for them: output name -> array [rows, ...].
        score: Share of held-out rows answered right; for diabetes the coefficient of determination, R2.
    """

    name: str
    model_bytes: bytes
    estimator: Any
    rows: Tensors
    truth: np.ndarray[Any, Any]
    expected: Tensors
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """Data set and untrained estimator of one model."""

    table: np.ndarray[Any, Any]
    truth: np.ndarray[Any, Any]
    estimator: Any
    # Input name -> (first column, end column, is text). Columns of the table, in graph order.
    inputs: Mapping[str, tuple[int, int, bool]] = field(default_factory=dict)
    regression_output: str = ""


def _iris() -> _Recipe:
    data = load_iris()
    return _Recipe(table=data.data, truth=data.target, estimator=LogisticRegression(max_iter=1000))


def _digits() -> _Recipe:
    data = load_digits()
    # A counted number of epochs: one that ends when the loss stops falling could end elsewhere on another processor.
    network = MLPClassifier((64,), alpha=0.01, learning_rate_init=0.005, max_iter=80, tol=0.0, random_state=SEED)
    return _Recipe(table=data.data, truth=data.target, estimator=make_pipeline(MinMaxScaler(), network))


def _diabetes() -> _Recipe:
    # Unscaled, so that a row holds an age in years and a blood pressure, not standard scores.
    data = load_diabetes(scaled=False)
    estimator = GradientBoostingRegressor(
        n_estimators=80, max_depth=2, learning_rate=0.08, subsample=0.8, random_state=SEED
    )
    return _Recipe(table=data.data, truth=data.target, estimator=estimator, regression_output="progression")


def _wine() -> _Recipe:
    data = load_wine()
    forest = RandomForestClassifier(n_estimators=40, max_depth=6, random_state=SEED)
    return _Recipe(table=data.data, truth=data.target, estimator=make_pipeline(StandardScaler(), forest))


# Rounded means (female, male) of bill length mm, bill depth mm, flipper length mm, body mass g, and where the species
# breeds with how many in a hundred birds. After Gorman, Williams and Fraser (2014), doi:10.1371/journal.pone.0090081.
_PENGUINS: Final = {
    "Adelie": (((37.3, 17.6, 188, 3370), (40.4, 19.1, 192, 4040)), {"Biscoe": 29, "Dream": 37, "Torgersen": 34}),
    "Chinstrap": (((46.6, 17.6, 192, 3530), (51.1, 19.3, 200, 3940)), {"Dream": 100}),
    "Gentoo": (((45.6, 14.2, 213, 4680), (49.5, 15.7, 222, 5480)), {"Biscoe": 100}),
}
_PENGUIN_SPREADS: Final = (2.3, 0.8, 5.7, 310)
_PENGUIN_DECIMALS: Final = (1, 1, 0, 0)
_PENGUINS_EACH: Final = 200


def _penguins() -> _Recipe:
    """Birds drawn at random around published means: plausible, but not one of them was ever measured."""
    random = np.random.default_rng(SEED)
    table: list[list[object]] = []
    truth: list[str] = []
    for species, (means, islands) in _PENGUINS.items():
        shares = np.array(list(islands.values())) / sum(islands.values())
        for _ in range(_PENGUINS_EACH):
            sex = int(random.integers(2))
            island = str(random.choice(list(islands), p=shares))
            sizes = random.normal(means[sex], _PENGUIN_SPREADS)
            measured = [round(float(size), places) for size, places in zip(sizes, _PENGUIN_DECIMALS, strict=True)]
            table.append([island, ("female", "male")[sex], *measured])
            truth.append(species)
    columns = ColumnTransformer(
        # Unknown islands and sexes become all zeros: the bird is then judged by its measurements.
        [("places", OneHotEncoder(handle_unknown="ignore"), [0, 1]), ("sizes", StandardScaler(), [2, 3, 4, 5])]
    )
    return _Recipe(
        table=np.array(table, dtype=object),
        truth=np.array(truth, dtype=object),
        estimator=make_pipeline(columns, LogisticRegression(max_iter=1000)),
        inputs={"island": (0, 1, True), "sex": (1, 2, True), "measurements": (2, 6, False)},
    )


_RECIPES: Final[Mapping[str, Callable[[], _Recipe]]] = {
    "diabetes": _diabetes,
    "digits": _digits,
    "iris": _iris,
    "penguins": _penguins,
    "wine": _wine,
}
NAMES: Final = tuple(_RECIPES)


def build(name: str) -> Built:
    """Train one model and convert it. Reads and writes no file.

    Args:
        name: One of ``NAMES``.
    """
    recipe = _RECIPES[name]()
    table = recipe.table
    if table.dtype != object:
        # A caller sends FP32: train on such values, or a split of a tree could fall between a value and its rounding.
        # Calculate in FP64 all the same, so that rounding does not grow while training.
        table = table.astype(np.float32).astype(np.float64)
    regression = bool(recipe.regression_output)
    train, held_out, train_truth, truth = train_test_split(
        table,
        recipe.truth,
        test_size=HELD_OUT,
        random_state=SEED,
        stratify=None if regression else recipe.truth,
    )
    estimator = recipe.estimator
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # see _digits: stopped by count on purpose
        estimator.fit(train, train_truth)
        if regression:
            expected = {recipe.regression_output: estimator.predict(held_out).astype(np.float32)[:, None]}
        else:
            probabilities = estimator.predict_proba(held_out).astype(np.float32)
            expected = {"label": estimator.predict(held_out), "probabilities": probabilities}
        score = float(estimator.score(held_out, truth))
    inputs = recipe.inputs or {"X": (0, table.shape[1], False)}
    return Built(
        name=name,
        model_bytes=_convert(name, estimator, inputs, recipe.regression_output),
        estimator=estimator,
        rows={
            tensor: held_out[:, first:end] if text else np.ascontiguousarray(held_out[:, first:end], np.float32)
            for tensor, (first, end, text) in inputs.items()
        },
        truth=truth,
        expected=expected,
        score=score,
    )


def _convert(name: str, estimator: Any, inputs: Mapping[str, tuple[int, int, bool]], regression_output: str) -> bytes:
    types = [
        (tensor, (StringTensorType if text else FloatTensorType)([None, end - first]))
        for tensor, (first, end, text) in inputs.items()
    ]
    model: ModelProto = convert_sklearn(
        estimator,
        name=name,
        initial_types=types,
        final_types=[(regression_output, FloatTensorType([None, 1]))] if regression_output else None,
        # Without this the probabilities are a sequence of maps, which no tensor protocol can carry.
        options={id(estimator): {"zipmap": False}} if not regression_output else None,
        target_opset=dict(OPSETS),
    )
    # Only what changes the answers may change the bytes.
    model.producer_name, model.producer_version, model.doc_string = "sardonyx", "", ""
    model.graph.doc_string = ""
    model.ir_version = IR_VERSION
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)  # skl2onnx collects them in a set
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "rows"
    model_bytes: bytes = model.SerializeToString(deterministic=True)
    return model_bytes


def write(built: Built, folder: Path) -> Path:
    """Write one model in Triton's layout and return the file; cards, labels and configs come along to other folders."""
    target = folder / built.name
    (target / "1").mkdir(parents=True, exist_ok=True)
    if folder.resolve() != HERE:
        for companion in (HERE / built.name).iterdir():
            if companion.is_file():
                shutil.copyfile(companion, target / companion.name)
    file = target / "1" / "model.onnx"
    file.write_bytes(built.model_bytes)
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what the command line names, all models where it names none, and print a table."""
    parser = argparse.ArgumentParser(prog="build.py", description="Builds the sample models.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--out", metavar="DIR", type=Path, default=HERE, help="repository folder (default: models/)")
    chosen = parser.parse_args(arguments)
    for name in chosen.names:
        if name not in NAMES:
            parser.error(f"unknown model {name!r}: expected one of {', '.join(NAMES)}")
    print(f"{'model':<10} {'bytes':>8} {'held-out rows':>14} {'score':>7}")
    for name in chosen.names or NAMES:
        built = build(name)
        write(built, chosen.out)
        print(f"{name:<10} {len(built.model_bytes):>8} {len(built.truth):>14} {built.score:>7.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
