"""Reads a model that is a single ``.onnx`` file, without a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository import filesystem
from sardonyx_server.repository.spec import ModelSpec
from sardonyx_server.text import quoted
from sardonyx_wire.messages import ModelConfig

if TYPE_CHECKING:
    from pathlib import Path

    from sardonyx_server.repository.spec import ConfigOverride

__all__ = ["entries_of", "read_single_file"]


def read_single_file(file: Path, override: ConfigOverride | None) -> ModelSpec:
    """The spec of a single-file model. Does not open the file.

    Args:
        file: Its stem is the name of the model.
        override: Its config; None = none.

    Raises:
        LoadFailed: The config references other files; the message is safe for callers.
    """
    entries = entries_of(file)
    if override is not None:
        if any(output.label_filename for output in override.message.output) or override.message.model_warmup:
            problem = "is a single-file model: its config cannot reference label files or warm-up samples"
            raise LoadFailed(f"{quoted(file.name)} {problem}")
        entries.append(filesystem.Entry(parts=(), state=override.fingerprint))
    fingerprint = filesystem.fingerprint(entries)
    return ModelSpec(
        name=file.stem,
        folder=file.parent,
        versions=(1,),
        files={1: file},
        config=ModelConfig(name=file.stem) if override is None else override.message,
        declines_batching=override is not None and override.declines_batching,
        labels={},
        fingerprint=fingerprint,
        version_fingerprints={1: fingerprint},
        warnings=(),
        config_source="config.pbtxt" if override is None else override.source,
    )


def entries_of(file: Path) -> list[filesystem.Entry]:
    """The file and its external data as exporters name them: ``model.onnx.data``, ``model.onnx_data``."""
    entries = []
    for name in _names_beside(file):
        if name.startswith(file.name):
            try:
                found = (file.parent / name).stat()
            except OSError:
                continue
            state = f"{filesystem.file_type(found.st_mode)} {found.st_size} {found.st_mtime_ns} {found.st_ino}"
            entries.append(filesystem.Entry(parts=(name,), state=state))
    return entries


def _names_beside(file: Path) -> list[str]:
    try:
        return filesystem.list_names(file.parent)
    except OSError:
        return []
