"""Reads the folder of one model: config.pbtxt, label files, version folders. Opens no model."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository import filesystem
from sardonyx_server.repository.config import (
    DEFAULT_MODEL_FILENAME,
    declines_batching,
    inside,
    parse_config,
    select_versions,
    shown_path,
    unused_fields,
)
from sardonyx_server.repository.referenced_files import check_referenced_files
from sardonyx_server.repository.spec import ConfigOverride, ModelSpec, is_onnx_name
from sardonyx_server.text import quoted
from sardonyx_wire.messages import ModelConfig

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_version", "read_model_folder", "version_problem"]

_CONFIG: Final = "config.pbtxt"
_MIB: Final = 2**20
# Configs and label files are written by hand; a larger one is a mistake, and would be read at every scan.
_TEXT_LIMIT_BYTES: Final = 16 * _MIB
# Folders of Triton's layout that are not versions.
_KNOWN_FOLDERS: Final = frozenset({"configs", "initial_state", "warmup"})
_VERSION: Final = re.compile(r"[1-9][0-9]{0,18}")
_MAX_VERSION: Final = 2**63 - 1  # the protocol carries versions as int64


def is_version(name: str) -> bool:
    """Whether a folder's name is a version: a positive integer without leading zeros."""
    return _VERSION.fullmatch(name) is not None and int(name) <= _MAX_VERSION


def read_model_folder(
    folder: Path, override: ConfigOverride | None = None, *, files_are_uploaded: bool = False
) -> ModelSpec:
    """Read ``<folder>/config.pbtxt`` and ``<folder>/<version>/``.

    Args:
        folder: Its name is the model's name.
        override: Replaces config.pbtxt, which is then read only for the files that it references.
        files_are_uploaded: The whole folder was uploaded with ``override``, which may then reference any of its files.

    Raises:
        LoadFailed: No version can be loaded; the message is safe for callers.
        OSError: The folder changed or became unreadable meanwhile.
    """
    name = folder.name
    # There may be thousands of versions that are not served; only their numbers are relevant.
    shared = filesystem.walk_folder(folder, leaves_out=is_version)
    if override is not None:
        source = override.source
        config, declines = override.message, override.declines_batching
        if not files_are_uploaded:
            check_referenced_files(config, f"{source} of model {quoted(name)}", lambda: _config_on_disk(folder)[0])
        shared.append(filesystem.Entry(parts=(_CONFIG,), state=override.fingerprint))
    else:
        source = _CONFIG
        config, declines = _config_on_disk(folder)
    filename = config.default_model_filename or DEFAULT_MODEL_FILENAME
    numbers, warnings = _version_folders(folder)
    if not numbers:
        raise LoadFailed(_no_versions(folder, filename))
    filled = [number for number in numbers if os.path.lexists(folder / str(number) / filename)]
    selected = select_versions(config.version_policy, filled, f"{source} of model {quoted(name)}")
    if not selected:
        raise LoadFailed(f"model {quoted(name)}: {_no_model_file(folder / str(numbers[-1]), filename)}")
    warnings += [
        f"version {number} is ignored: its folder has no {quoted(filename)}"
        for number in sorted(set(numbers).difference(filled, selected))
    ]
    files = {number: _model_file(folder / str(number) / filename) for number in selected}
    problems = [version_problem(name, number, file) for number, file in files.items()]
    if all(problems):
        raise LoadFailed(problems[-1] or "")
    unused = unused_fields(config)
    if unused:
        warnings.append(f"{source} sets what has no effect here: {', '.join(unused)}")
    fingerprints = {
        number: filesystem.fingerprint([*shared, *filesystem.walk_folder(folder / str(number))]) for number in selected
    }
    return ModelSpec(
        name=name,
        folder=folder,
        versions=selected,
        files=files,
        config=config,
        declines_batching=declines,
        labels=_read_labels(folder, config),
        fingerprint=filesystem.fingerprint(
            [
                *shared,
                filesystem.Entry(parts=(), state=f"versions {numbers}, with a model {filled}"),
                *(filesystem.Entry(parts=(str(number),), state=state) for number, state in fingerprints.items()),
            ]
        ),
        version_fingerprints=fingerprints,
        warnings=tuple(warnings),
        config_source=source,
    )


def version_problem(name: str, number: int, file: Path) -> str | None:
    """Why a version's model file is unusable, or None. Does not open it."""
    problem = filesystem.stat_problem(file)
    if problem is None:
        return None
    subject = f"version {number} of model {quoted(name)}"
    if not os.path.lexists(file):
        if not filesystem.is_folder(file.parent):
            return f"{subject}: there is no folder '{number}'"
        return f"{subject}: {_no_model_file(file.parent, file.name)}"
    return f"{subject}: {quoted(file.name)} {problem}"


def _version_folders(folder: Path) -> tuple[list[int], list[str]]:
    """(versions, warnings about other folders), both ascending."""
    numbers, warnings = [], []
    for name in filesystem.list_names(folder):
        if name in _KNOWN_FOLDERS or not filesystem.is_folder(folder / name):
            continue
        if is_version(name):
            numbers.append(int(name))
        else:
            warnings.append(
                f"folder {quoted(name)} is ignored: a version is a positive whole number without leading zeros"
            )
    return sorted(numbers), warnings


def _model_file(path: Path) -> Path:
    """The model file. As in Triton, a model of several files may be in a folder, as ``model.onnx/model.onnx``."""
    nested = path / DEFAULT_MODEL_FILENAME
    return nested if nested.is_file() else path


def _no_versions(folder: Path, filename: str) -> str:
    name = folder.name
    lone = next((each for each in filesystem.list_names(folder) if is_onnx_name(each)), None)
    if lone is not None and not filesystem.is_folder(folder / lone):
        return f"model {quoted(name)} has no version folder; move {quoted(lone)} to {quoted(f'{name}/1/{filename}')}"
    return f"model {quoted(name)} has no version folder; expected {quoted(f'{name}/1/{filename}')}"


def _no_model_file(folder: Path, filename: str) -> str:
    text = f"version folder '{folder.name}' has no {quoted(filename)}"
    try:
        names = filesystem.list_names(folder)
    except OSError as error:
        return f"version folder '{folder.name}' cannot be read: {error.strerror}"
    others = [name for name in names if is_onnx_name(name)]
    if others:
        text += f"; rename {quoted(others[0])}, or name it as default_model_filename in config.pbtxt"
    elif names:
        text += f" but {quoted(names[0])}; only ONNX models are served here"
    return text


def _config_on_disk(folder: Path) -> tuple[ModelConfig, bool]:
    """(config.pbtxt, whether it declines batching); a config with only the name if there is no file."""
    name = folder.name
    if not os.path.lexists(folder / _CONFIG):
        return ModelConfig(name=name), False
    text = _read_text(folder / _CONFIG, f"{_CONFIG} of model {quoted(name)}", may_be_empty=True)
    config = parse_config(text, name)
    return config, declines_batching(text, config)


def _read_labels(folder: Path, config: ModelConfig) -> dict[str, tuple[str, ...]]:
    labels = {}
    for output in config.output:
        if not output.label_filename:
            continue
        subject = f"model {quoted(folder.name)}: label file {shown_path(output.label_filename)}"
        if not inside(output.label_filename):
            raise LoadFailed(f"{subject}: expected a file inside the model's folder, without '..'")
        text = _read_text(folder / output.label_filename, subject)
        labels[output.name] = tuple(line.strip() for line in text.rstrip().split("\n"))
    return labels


def _read_text(file: Path, subject: str, *, may_be_empty: bool = False) -> str:
    problem = filesystem.stat_problem(file)
    if may_be_empty and problem == "is empty":
        return ""
    if problem:
        raise LoadFailed(f"{subject} {problem}")
    # O_NONBLOCK: a FIFO that replaced the file meanwhile must not block.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        data = opened.read(_TEXT_LIMIT_BYTES + 1)
    if len(data) > _TEXT_LIMIT_BYTES:
        raise LoadFailed(f"{subject} is larger than {_TEXT_LIMIT_BYTES // _MIB} MiB")
    try:
        # utf-8-sig: editors on Windows prepend a byte order mark.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadFailed(f"{subject} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from error
