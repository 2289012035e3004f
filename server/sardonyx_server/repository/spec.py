"""Model specs: plain values that describe a model on disk, or why it is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sardonyx_wire.messages import ModelConfig

__all__ = ["ONNX_SUFFIX", "BrokenModel", "ConfigOverride", "ModelSpec", "is_onnx_name", "name_problem"]

ONNX_SUFFIX: Final = ".onnx"
"""Suffix of model files, compared without regard to case."""

# The longest file name; a longer name cannot be a folder.
_NAME_LIMIT_BYTES: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOverride:
    """A config uploaded with a load call, which replaces config.pbtxt.

    Attributes:
        message: The parsed config with the name filled in. Not to be modified.
        declines_batching: As ``ModelSpec.declines_batching``.
        fingerprint: Differs if the text differs.
        source: Its name in messages.
    """

    message: ModelConfig
    declines_batching: bool
    fingerprint: str
    source: str = "the given config"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model on disk; whether its files can be loaded is not known yet.

    Attributes:
        name: Name of the folder, or stem of a single ``.onnx`` file.
        folder: The model's folder, or the folder that contains the single file.
        versions: Selected by the version policy, ascending. A file may be missing, which ``take_private_copy`` reports.
        files: Version -> model file.
        config: The parsed config.pbtxt, or the config that replaces it, with the name filled in; only the name if there
            is none. Not to be modified: ``complete_config`` makes a new one.
        declines_batching: Whether it states ``max_batch_size: 0``, which the message cannot distinguish from unset.
        labels: Output name -> labels read from its ``label_filename``.
        fingerprint: Changes when anything on disk changes that affects what is served: config, labels, the list of
            versions, and the contents of the selected version folders.
        version_fingerprints: Version -> fingerprint of that version and of shared files (config, labels).
        warnings: For the operator, one line each.
        config_source: Name of the config in messages.
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
    """A model in a repository that cannot be loaded.

    Attributes:
        name: As ``ModelSpec.name``, with unprintable characters escaped.
        folder: Where it was found.
        reason: One line that says how to fix it, safe for callers.
        fingerprint: As ``ModelSpec.fingerprint``.
    """

    name: str
    folder: Path
    reason: str
    fingerprint: str


def is_onnx_name(name: str) -> bool:
    """Whether a file name ends in ``.onnx``."""
    return name.lower().endswith(ONNX_SUFFIX)


def name_problem(name: str) -> str | None:
    """Why a text is not a valid model name, or None. Unusual but existing names (colons, dots, spaces) are valid."""
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
