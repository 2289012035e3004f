"""The rules around the model: which bytes of a file it sees, which files need no model, which scores are trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from sardonyx_server.demo.magika_model import ContentType, MagikaModel

__all__ = ["Classification", "classify", "features", "prepare_input"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The detected type of a file.

    Attributes:
        kind: The type.
        score: Score of the model, 0 to 1; 1.0 if it was not used.
        model_label: Label from the model, before the rules; "" if it was not used.
        reason: Why ``kind`` differs from the model's label; "" if it does not.
    """

    kind: ContentType
    score: float
    model_label: str = ""
    reason: str = ""


def prepare_input(path: Path, model: MagikaModel) -> Classification | npt.NDArray[np.int32]:
    """Read one file: the result if no model is needed, otherwise the model's input.

    Reads only a few kilobytes at either end. Follows links.

    Returns:
        A Classification, or the result of ``features``.

    Raises:
        SettingsError: There is no such file, or it may not be read.
    """
    if path.is_dir():
        return _without_model("directory", model)
    if path.exists() and not path.is_file():
        # A pipe or a device: reading could block forever.
        return _without_model("unknown", model)
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
        return _without_model("empty", model)
    if size_bytes < model.least_bytes or len(head.lstrip()) < model.least_bytes:
        return _without_model(_label_of_short_content(head), model)
    return features(head, tail, model)


def features(head: bytes, tail: bytes, model: MagikaModel) -> npt.NDArray[np.int32]:
    """The model's input for a file: its beginning and end, without surrounding white space.

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


def classify(scores: npt.NDArray[np.float32], model: MagikaModel) -> Classification:
    """Turn the model's scores for one file into a result: rename labels, and trust only scores above the threshold.

    Args:
        scores: FP32 [labels], one row of output ``OUTPUT``.
        model: Has labels, renamings and thresholds.
    """
    best = int(np.argmax(scores))
    score = float(scores[best])
    said = model.labels[best]
    label = model.overwrites.get(said, said)
    reason = "" if label == said else f"{said} counts as {label}"
    threshold = model.thresholds.get(said, model.threshold)
    if score < threshold:
        # Even with a low score, the model is trusted to tell text from binary.
        label = "txt" if model.kinds[label].is_text else "unknown"
        reason = "" if label == said else f"{said} needs a score of {threshold:g}"
    return Classification(kind=model.kinds[label], score=score, model_label=said, reason=reason)


def _without_model(label: str, model: MagikaModel) -> Classification:
    return Classification(kind=model.kinds[label], score=1.0)


def _label_of_short_content(content: bytes) -> str:
    try:
        content.decode()
    except UnicodeDecodeError:
        return "unknown"
    return "txt"
