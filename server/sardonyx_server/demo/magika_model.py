"""Finds magika's model and its rules in the installed package ``magika``."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.errors import SettingsError
from sardonyx_server.text import pip_install

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INPUT", "MODEL_NAME", "OUTPUT", "ContentType", "MagikaModel", "find_model", "make_repository"]

# Names of the served model and its two tensors.
MODEL_NAME: Final = "magika"
INPUT: Final = "bytes"
OUTPUT: Final = "target_label"

_PACKAGE: Final = "magika"
# The default model of magika 1.0.
_FOLDER: Final = Path("models") / "standard_v3_3"
_INSTALL: Final = pip_install("demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """A file type.

    Attributes:
        label: Short name, such as ``python``.
        description: Human-readable name, such as ``Python source``.
        mime_type: Such as ``text/x-python``.
        group: Such as ``code``, or ``unknown``.
        is_text: Whether it is a text format.
    """

    label: str
    description: str
    mime_type: str
    group: str
    is_text: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MagikaModel:
    """The model in the installed package, and its rules.

    Attributes:
        file: The ONNX file.
        labels: Labels, in the order of the scores.
        head_bytes: Number of bytes of the file's beginning that the model sees.
        tail_bytes: Likewise of its end.
        block_bytes: Number of bytes read at either end, before white space is stripped.
        padding: Fills the input of short files; not a byte value, so 256 or more.
        least_bytes: Files shorter than this are not sent to the model.
        threshold: Lowest score that is trusted ...
        thresholds: ... and exceptions by label.
        overwrites: Label of the model -> label of the result.
        kinds: Label -> content type, for every label of a result.
    """

    file: Path
    labels: tuple[str, ...]
    head_bytes: int
    tail_bytes: int
    block_bytes: int
    padding: int
    least_bytes: int
    threshold: float
    thresholds: Mapping[str, float]
    overwrites: Mapping[str, str]
    kinds: Mapping[str, ContentType]


def find_model(search_path: list[str] | None = None) -> MagikaModel:
    """Find the model in the installed package and read its rules, without importing the package.

    Args:
        search_path: Folders to look for the package in; None = ``sys.path``.

    Raises:
        SettingsError: The package is not installed, or has a version whose rules this demo does not support.
    """
    # Not importlib.resources: that imports the package, and the package imports onnxruntime.
    found = PathFinder.find_spec(_PACKAGE, search_path)
    if found is None or not found.submodule_search_locations:
        raise SettingsError(
            f"the demo serves the model of the package {_PACKAGE!r}, which is not installed: {_INSTALL}"
        )
    package = Path(found.submodule_search_locations[0])
    file = package / _FOLDER / "model.onnx"
    if not file.is_file():
        raise SettingsError(
            f"the demo expects {_FOLDER.as_posix()}/model.onnx in the package {_PACKAGE!r}; "
            f"the installed one has none: {_INSTALL}"
        )
    try:
        rules = _read_json(package / _FOLDER / "config.min.json")
        catalogue = _read_json(package / "config" / "content_types_kb.min.json")
        if rules["mid_size"] != 0 or rules["use_inputs_at_offsets"]:
            raise SettingsError(
                f"the demo expects a model that sees the beginning and the end of a file; the installed {_PACKAGE!r} "
                f"has one that sees other parts too: {_INSTALL}"
            )
        return MagikaModel(
            file=file,
            labels=tuple(rules["target_labels_space"]),
            head_bytes=rules["beg_size"],
            tail_bytes=rules["end_size"],
            block_bytes=rules["block_size"],
            padding=rules["padding_token"],
            least_bytes=rules["min_file_size_for_dl"],
            threshold=rules["medium_confidence_threshold"],
            thresholds=rules["thresholds"],
            overwrites=rules["overwrite_map"],
            kinds={label: _kind(label, about) for label, about in catalogue.items()},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"the demo cannot read the rules of the model in the installed {_PACKAGE!r} "
            f"({type(error).__name__}: {error}): {_INSTALL}"
        ) from error


def make_repository(folder: Path, model: MagikaModel) -> Path:
    """Lay out a model repository that serves a copy of the model as ``MODEL_NAME``; it needs no config.

    Args:
        folder: Becomes the repository; created if missing.
        model: From ``find_model``.

    Returns:
        ``folder``.
    """
    version = folder / MODEL_NAME / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model.file, version / "model.onnx")
    return folder


def _kind(label: str, about: Mapping[str, Any]) -> ContentType:
    """One entry of the package's knowledge base; null stands for the obvious default."""
    return ContentType(
        label=label,
        description=about["description"] or label,
        mime_type=about["mime_type"] or ("text/plain" if about["is_text"] else "application/octet-stream"),
        group=about["group"] or "unknown",
        is_text=about["is_text"],
    )


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
