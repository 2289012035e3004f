"""Reads one model that is an ``.onnx`` file by itself, without a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository import disk
from sardonyx_server.repository.spec import ModelSpec
from sardonyx_server.text import quoted
from sardonyx_wire.messages import ModelConfig

if TYPE_CHECKING:
    from pathlib import Path

    from sardonyx_server.repository.spec import GivenConfig

__all__ = ["items_of", "read_lone_file"]


def read_lone_file(file: Path, given: GivenConfig | None) -> ModelSpec:
    """The model in a file, which is not opened.

    Args:
        file: Its name without the ending is the model's.
        given: Its config; None = it has none.

    Raises:
        LoadFailed: The config names files beside it; the message is safe for callers.
    """
    items = items_of(file)
    if given is not None:
        if any(output.label_filename for output in given.message.output) or given.message.model_warmup:
            problem = "is a lone file: its config cannot name label files or warm-up samples"
            raise LoadFailed(f"{quoted(file.name)} {problem}")
        items.append(disk.Item(parts=(), facts=given.fingerprint))
    fingerprint = disk.fingerprint(items)
    return ModelSpec(
        name=file.stem,
        folder=file.parent,
        versions=(1,),
        files={1: file},
        config=ModelConfig(name=file.stem) if given is None else given.message,
        declines_batching=given is not None and given.declines_batching,
        labels={},
        fingerprint=fingerprint,
        version_fingerprints={1: fingerprint},
        warnings=(),
        config_source="config.pbtxt" if given is None else given.source,
    )


def items_of(file: Path) -> list[disk.Item]:
    """The file and what exporters put beside it: ``model.onnx.data``, ``model.onnx_data``."""
    items = []
    for name in _names_beside(file):
        if name.startswith(file.name):
            try:
                found = (file.parent / name).stat()
            except OSError:
                continue
            facts = f"{disk.kind_of(found.st_mode)} {found.st_size} {found.st_mtime_ns} {found.st_ino}"
            items.append(disk.Item(parts=(name,), facts=facts))
    return items


def _names_beside(file: Path) -> list[str]:
    try:
        return disk.names_in(file.parent)
    except OSError:
        return []
