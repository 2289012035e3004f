"""What kind of file is this? The part of ``sardonyx demo`` around the model: everything but running it.

The model belongs to the package ``magika`` (Apache-2.0) and is taken from where that is installed. Its Python code is
not imported: it brings a session of its own, and here the server runs the model. The rules (what the model gets to see,
when it is not asked, when it is not believed) are those of magika 1.0, with every number read from its files. Pure but
for reading these files: knows no server, no client and no terminal.

    model = find_model()
    make_repository(folder, model)             # serve it
    prepared = prepare(path, model)            # an Answer already, or the row to send as input INPUT
    answer = judge(scores, model)              # scores: the row of output OUTPUT that came back
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "INPUT",
    "MODEL_NAME",
    "OUTPUT",
    "Answer",
    "InstalledModel",
    "Kind",
    "features",
    "find_model",
    "judge",
    "make_repository",
    "prepare",
]

# Name of the model in the repository that make_repository lays out, and of its two tensors.
MODEL_NAME: Final = "magika"
INPUT: Final = "bytes"
OUTPUT: Final = "target_label"

_PACKAGE: Final = "magika"
# The model that magika 1.0 uses itself.
_FOLDER: Final = Path("models") / "standard_v3_3"
_INSTALL: Final = "pip install 'sardonyx[demo]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file.

    Attributes:
        label: Short name, such as ``python``.
        description: For people, such as ``Python source``.
        mime_type: Such as ``text/x-python``.
        group: Such as ``code``, or ``unknown``.
        is_text: Whether such files are text.
    """

    label: str
    description: str
    mime_type: str
    group: str
    is_text: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a file is.

    Attributes:
        kind: The answer.
        score: How sure the model is, 0 to 1; 1.0 where it was not asked.
        model_label: What the model said, before the rules; "" where it was not asked.
        reason: Why ``kind`` is not what the model said; "" where it is.
    """

    kind: Kind
    score: float
    model_label: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledModel:
    """The model in the installed package, and its rules.

    Attributes:
        file: The ONNX file.
        labels: Label of each score, in the order of the scores.
        head_bytes: How much of a file's beginning the model sees.
        tail_bytes: How much of its end.
        block_bytes: How much is read at either end, before white space is stripped.
        padding: Stands where a file has too few bytes; no byte, so 256 or more.
        least_bytes: The model is not asked about files with less than this.
        threshold: Lowest score that is believed ...
        thresholds: ... and for labels that need another.
        overwrites: Label of the model -> label of the answer.
        kinds: Label -> kind, for every label that an answer can have.
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
    kinds: Mapping[str, Kind]


def find_model(search_path: list[str] | None = None) -> InstalledModel:
    """Find the model in the installed package and read its rules, without importing the package.

    Args:
        search_path: Folders to look for the package in; None means ``sys.path``.

    Raises:
        SettingsError: The package is not installed, or is one whose rules this demo does not know.
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
        return InstalledModel(
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


def prepare(path: Path, model: InstalledModel) -> Answer | npt.NDArray[np.int32]:
    """Look at one file: the answer where the model need not be asked, else the row to ask it with.

    Reads a few kilobytes at either end, whatever the size of the file. Follows links.

    Returns:
        An Answer, or ``features``.

    Raises:
        SettingsError: There is no such file, or it may not be read.
    """
    if path.is_dir():
        return _certain("directory", model)
    if path.exists() and not path.is_file():
        # A pipe or a device: reading could wait for ever.
        return _certain("unknown", model)
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            block_bytes = min(size_bytes, model.block_bytes)
            file.seek(0)
            head = file.read(block_bytes)
            file.seek(size_bytes - block_bytes)
            tail = file.read(block_bytes)
    except OSError as error:
        raise SettingsError(f"cannot read '{path}': {error.strerror or error}; expected a file to classify") from error
    if not head:
        return _certain("empty", model)
    if size_bytes < model.least_bytes or len(head.lstrip()) < model.least_bytes:
        return _certain(_label_of_few(head), model)
    return features(head, tail, model)


def features(head: bytes, tail: bytes, model: InstalledModel) -> npt.NDArray[np.int32]:
    """Make the row that the model sees of a file: its ends, without the white space around them.

    Args:
        head: The first ``block_bytes`` of the file, or all of it.
        tail: The last ``block_bytes``, or all of it. Overlaps with ``head`` in a small file.
        model: Gives the sizes.

    Returns:
        INT32 [head_bytes + tail_bytes], one byte per element; padding after a short head and before a short tail.
    """
    row = np.full(model.head_bytes + model.tail_bytes, model.padding, np.int32)
    first = head.lstrip()[: model.head_bytes]
    last = tail.rstrip()[-model.tail_bytes :]
    row[: len(first)] = np.frombuffer(first, np.uint8)
    row[len(row) - len(last) :] = np.frombuffer(last, np.uint8)
    return row


def judge(scores: npt.NDArray[np.float32], model: InstalledModel) -> Answer:
    """Turn the model's scores for one file into an answer: rename, then believe only a score that is high enough.

    Args:
        scores: FP32 [labels], one row of output ``OUTPUT``.
        model: Gives labels, renamings and thresholds.
    """
    best = int(np.argmax(scores))
    score = float(scores[best])
    said = model.labels[best]
    label = model.overwrites.get(said, said)
    reason = "" if label == said else f"{said} counts as {label}"
    threshold = model.thresholds.get(said, model.threshold)
    if score < threshold:
        # Even an unsure model is taken to know text from binary.
        label = "txt" if model.kinds[label].is_text else "unknown"
        reason = "" if label == said else f"{said} needs a score of {threshold:g}"
    return Answer(kind=model.kinds[label], score=score, model_label=said, reason=reason)


def make_repository(folder: Path, model: InstalledModel) -> Path:
    """Lay out a repository that serves the model as ``MODEL_NAME``: a copy of the file, no link, no config needed.

    Args:
        folder: Becomes the repository; made where it does not exist.
        model: From ``find_model``.

    Returns:
        ``folder``.
    """
    version = folder / MODEL_NAME / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model.file, version / "model.onnx")
    return folder


def _certain(label: str, model: InstalledModel) -> Answer:
    return Answer(kind=model.kinds[label], score=1.0)


def _label_of_few(content: bytes) -> str:
    try:
        content.decode()
    except UnicodeDecodeError:
        return "unknown"
    return "txt"


def _kind(label: str, about: Mapping[str, Any]) -> Kind:
    """One entry of the package's catalogue; null stands for what everybody would assume."""
    return Kind(
        label=label,
        description=about["description"] or label,
        mime_type=about["mime_type"] or ("text/plain" if about["is_text"] else "application/octet-stream"),
        group=about["group"] or "unknown",
        is_text=about["is_text"],
    )


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
