"""What lies on disk, as plain values: a model that can be tried, or one that cannot and why. Reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sardonyx_wire.messages import ModelConfig

__all__ = ["ONNX_SUFFIX", "BrokenModel", "ConfigOverride", "ModelSpec", "is_onnx_name", "name_problem"]

ONNX_SUFFIX: Final = ".onnx"
"""Of files that are models, in either case: some systems write it in capitals."""

# The longest name a file system takes; a name that is longer can be no folder.
_NAME_LIMIT_BYTES: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOverride:
    """A config that came with a load, in place of config.pbtxt.

    Attributes:
        message: What it says, with the name filled in. Not to be changed.
        declines_batching: As ``ModelSpec.declines_batching``.
        fingerprint: Differs where the text differs.
        source: What messages call it.
    """

    message: ModelConfig
    declines_batching: bool
    fingerprint: str
    source: str = "the given config"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model as it lies on disk; whether its files can be loaded is not known yet.

    Attributes:
        name: Name of the folder, or the stem of a lone ``.onnx`` file.
        folder: The model's folder; for a lone file the folder that holds it.
        versions: Selected by the version policy, ascending. One may lack its file: ``take_private_copy`` says so.
        files: Version -> model file.
        config: What config.pbtxt, or the config in its place, says, with the name filled in; empty besides the name
            where there is none. Not to be changed: ``effective.complete`` makes a new one.
        declines_batching: It writes ``max_batch_size: 0``. The message alone cannot tell that from silence.
        labels: Output name -> labels read from its ``label_filename``.
        fingerprint: Changes when anything of the model on disk changes that matters to what is served: config, labels,
            the versions there are, and all in the folders of those that are selected.
        version_fingerprints: Version -> changes when that version or what all share (config, labels) changes.
        warnings: What an operator should know, one line each.
        config_source: What messages call the config.
    """

    name: str
    folder: Path
    versions: tuple[int, ...]
    files: Mapping[int, Path]
    config: ModelConfig
    declines_batching: bool
    labels: Mapping[str, tuple[str, ...]]
    fingerprint: str
    version_fingerprints: Mapping[int, str]
    warnings: tuple[str, ...]
    config_source: str = "config.pbtxt"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenModel:
    """Something in a repository that should be a model and cannot be one.

    Attributes:
        name: As ``ModelSpec.name``; what does not print is escaped.
        folder: Where it was looked for.
        reason: One line with the way out, safe for callers.
        fingerprint: As ``ModelSpec.fingerprint``.
    """

    name: str
    folder: Path
    reason: str
    fingerprint: str


def is_onnx_name(name: str) -> bool:
    """Whether a file is called as an ONNX model is."""
    return name.lower().endswith(ONNX_SUFFIX)


def name_problem(name: str) -> str | None:
    """Why a text cannot name a model, or None if it can. Odd but real names (colons, dots, spaces) can."""
    if name in {"", ".", ".."} or "/" in name:
        return "a model's name must not be empty, '.' or '..' nor contain '/'"
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in name):
        return "a model's name must not contain control characters"
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "a model's name must be UTF-8"
    if len(encoded) > _NAME_LIMIT_BYTES:
        return f"a model's name must not be longer than {_NAME_LIMIT_BYTES} bytes, got {len(encoded)}"
    return None
