"""The rules around the model: what it gets to see of a file, when it is not asked, and when it is not believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from sardonyx_server.demo.installed import InstalledModel, Kind

__all__ = ["Answer", "features", "judge", "prepare"]


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


def _certain(label: str, model: InstalledModel) -> Answer:
    return Answer(kind=model.kinds[label], score=1.0)


def _label_of_few(content: bytes) -> str:
    try:
        content.decode()
    except UnicodeDecodeError:
        return "unknown"
    return "txt"
