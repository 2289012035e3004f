"""Classifiers of scikit-learn as skl2onnx exports them unless it is told otherwise, and the same without maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FLOWERS", "Converted", "converted"]

FLOWERS = ("setosa", "versicolor", "virginica")
_KINDS = np.array(FLOWERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One classifier.

    Attributes:
        name: Of the model.
        by_default: As ``to_onnx(estimator, rows)`` writes it: it ends in ZipMap.
        plain: With ``zipmap=False``.
        feeds: Some rows.
        labels: Of the classes, as text.
    """

    name: str
    by_default: bytes
    plain: bytes
    feeds: Mapping[str, Any]
    labels: tuple[str, ...]


def converted() -> list[Converted]:
    """Trained now, which takes less than a second."""
    table, truth = load_iris(return_X_y=True)
    table = table.astype(np.float32)
    two = truth < 2
    return [
        _of("logistic", LogisticRegression(max_iter=500), table, truth),
        _of("binary", LogisticRegression(), table[two], truth[two]),
        _of("forest", RandomForestClassifier(5, random_state=0), table, _KINDS[truth]),
        _of("binary_forest", RandomForestClassifier(5, random_state=0), table[two], _KINDS[truth[two]]),
        _of("calibrated", CalibratedClassifierCV(LinearSVC(), cv=2), table, truth),
        _pipeline(table, truth),
    ]


def _of(name: str, estimator: Any, table: Any, truth: Any) -> Converted:
    estimator.fit(table, truth)
    rows = np.ascontiguousarray(table[::11])
    return _converted(name, estimator, {"X": rows}, rows[:1])


def _pipeline(table: Any, truth: Any) -> Converted:
    """Text in two columns, numbers in two, and names for the classes."""
    text = np.array(["red", "green", "blue"])[np.stack([np.arange(len(truth)) % 3, truth], axis=1)]
    mixed = np.concatenate([text.astype(object), table[:, :2].astype(object)], axis=1)
    # One that fails at words it does not know cannot be tried with made-up ones, so it would not be batched.
    encoder = OneHotEncoder(handle_unknown="ignore")
    estimator = make_pipeline(
        ColumnTransformer([("text", encoder, [0, 1]), ("numbers", StandardScaler(), [2, 3])]),
        LogisticRegression(),
    )
    estimator.fit(mixed, _KINDS[truth])
    feeds = {"colours": text[::11].astype(object), "sizes": np.ascontiguousarray(table[::11, :2])}
    types = [("colours", StringTensorType([None, 2])), ("sizes", FloatTensorType([None, 2]))]
    return _converted("pipeline", estimator, feeds, None, initial_types=types)


def _converted(name: str, estimator: Any, feeds: Mapping[str, Any], rows: Any, **more: Any) -> Converted:
    return Converted(
        name=name,
        by_default=to_onnx(estimator, rows, **more).SerializeToString(),
        plain=to_onnx(estimator, rows, options={"zipmap": False}, **more).SerializeToString(),
        feeds=feeds,
        labels=tuple(map(str, estimator.classes_.tolist())),
    )
