"""Finds models under given paths. Reads names, sizes, configs and label files; opens no model and never raises.

A path is a repository ``<repository>/<model>/<version>/model.onnx``, a folder of ``.onnx`` files, or one such file.
A model that cannot be loaded is returned as ``BrokenModel`` with the reason.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository import filesystem
from sardonyx_server.repository.model_folder import is_version, read_model_folder
from sardonyx_server.repository.single_file import entries_of, read_single_file
from sardonyx_server.repository.spec import (
    ONNX_SUFFIX,
    BrokenModel,
    ConfigOverride,
    ModelSpec,
    is_onnx_name,
    name_problem,
)
from sardonyx_server.text import one_line, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["find_model", "is_model_folder", "is_stray", "scan"]

_NAME_LIMIT_BYTES: Final = 255


def scan(paths: Sequence[Path]) -> dict[str, ModelSpec | BrokenModel]:
    """All models under the paths, by name.

    Args:
        paths: Repositories, folders of ``.onnx`` files, and ``.onnx`` files. Duplicates count once.

    Returns:
        Name -> model, or why it is broken. A name found at several places is broken.
    """
    return _scan(paths, _ALL)


def find_model(
    paths: Sequence[Path], name: str, override: ConfigOverride | None = None
) -> ModelSpec | BrokenModel | None:
    """Find one model under the paths without reading the others.

    Args:
        paths: As for ``scan``.
        name: Any text: it is only compared with names on disk, never used as a path.
        override: Replaces its config.pbtxt.

    Returns:
        As from ``scan``; None if there is no such model.
    """
    return _scan(paths, _Selection(name=name, override=override)).get(name)


def is_model_folder(folder: Path) -> bool:
    """Whether a folder has version folders with models, or version folders and a config. False for a file."""
    return _has_versions(folder, _names_in(folder))


def is_stray(model: BrokenModel) -> bool:
    """Whether its folder does not look like a model: no config, and no ``.onnx`` file there or in a version folder."""
    names = _names_in(model.folder)
    return (
        filesystem.is_folder(model.folder)
        and not any(name == "config.pbtxt" or is_onnx_name(name) for name in names)
        and not _has_versions(model.folder, names)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selection:
    """Which model to read (None = all), and the config that replaces its own."""

    name: str | None = None
    override: ConfigOverride | None = None

    def includes(self, name: str) -> bool:
        return self.name in {None, name}


_ALL: Final = _Selection()


def _scan(paths: Sequence[Path], selection: _Selection) -> dict[str, ModelSpec | BrokenModel]:
    found: dict[str, list[tuple[Path, ModelSpec | BrokenModel]]] = {}
    for path in _distinct(paths):
        for place, model in _models_at(path, selection):
            found.setdefault(model.name, []).append((place, model))
    return {
        name: places[0][1] if len(places) == 1 else _ambiguous(name, places) for name, places in sorted(found.items())
    }


def _distinct(paths: Sequence[Path]) -> list[Path]:
    distinct: dict[str, Path] = {}
    for path in paths:
        try:
            key = os.path.realpath(path)
        except (OSError, ValueError):
            key = str(path)
        distinct.setdefault(key, path)
    return list(distinct.values())


def _models_at(path: Path, selection: _Selection) -> Iterator[tuple[Path, ModelSpec | BrokenModel]]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            yield from _models_in(path, selection)
        elif is_onnx_name(path.name):
            yield path, _single_file(path, selection.override)
        else:
            yield (
                path,
                _broken(path, f"{_shown(path)} is a {filesystem.file_type(mode)}, expected a folder or an .onnx file"),
            )
    except OSError as error:
        yield path, _broken(path, f"{_shown(path)} {filesystem.os_problem(error)}")
    except ValueError:
        # A NUL byte, or text that the file system's encoding cannot represent.
        yield path, _broken(path, f"{_shown(path)} cannot be a path")


def _models_in(folder: Path, selection: _Selection) -> Iterator[tuple[Path, ModelSpec | BrokenModel]]:
    names = filesystem.list_names(folder)
    if _has_versions(folder, names):
        problem = "is the folder of one model; give the folder above it as the repository"
        yield folder, _broken(folder, f"{_shown(folder)} {problem}")
        return
    has_files = any(is_onnx_name(name) and not filesystem.is_folder(folder / name) for name in names)
    for name in names:
        path = folder / name
        if not selection.includes(name) and not selection.includes(path.stem):
            continue
        try:
            mode = path.stat().st_mode
        except OSError as error:
            problem = filesystem.stat_problem(path) or filesystem.os_problem(error)
            yield path, _broken(path, f"{_shown(path)} {problem}")
            continue
        if stat.S_ISDIR(mode):
            # Next to .onnx files a folder need not be a model.
            if not has_files or is_model_folder(path):
                yield path, _model_folder(path, selection.override)
        elif is_onnx_name(name):
            yield path, _single_file(path, selection.override)


def _has_versions(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder has version folders with models, or version folders and a config."""
    versions = [name for name in names if is_version(name) and filesystem.is_folder(folder / name)]
    if versions and "config.pbtxt" in names:
        return True
    return any(is_onnx_name(each) for name in versions for each in _names_in(folder / name))


def _names_in(folder: Path) -> list[str]:
    try:
        return filesystem.list_names(folder)
    except OSError:
        return []


def _model_folder(folder: Path, override: ConfigOverride | None) -> ModelSpec | BrokenModel:
    return _read(folder, folder.name, filesystem.folder_problem, lambda: read_model_folder(folder, override))


def _single_file(file: Path, override: ConfigOverride | None) -> ModelSpec | BrokenModel:
    return _read(file, file.stem, filesystem.stat_problem, lambda: read_single_file(file, override))


def _read(
    path: Path, name: str, problem_of: Callable[[Path], str | None], read: Callable[[], ModelSpec]
) -> ModelSpec | BrokenModel:
    problem = name_problem(name)
    if problem is None and (seen := problem_of(path)):
        problem = f"{_shown(path)} {seen}"
    if problem:
        return _broken(path, problem)
    try:
        return read()
    except LoadFailed as error:
        return _broken(path, error.message)
    except OSError as error:
        return _broken(path, f"a file of model {quoted(name)} {filesystem.os_problem(error)}")


def _broken(path: Path, reason: str) -> BrokenModel:
    is_folder = filesystem.is_folder(path)
    entries = filesystem.walk_folder(path) if is_folder else entries_of(path)
    return BrokenModel(
        name=one_line(
            _name(path) if is_folder or not is_onnx_name(path.name) else _name(path)[: -len(ONNX_SUFFIX)],
            _NAME_LIMIT_BYTES,
        ),
        folder=path,
        reason=reason,
        # The reason is included for paths without any state on disk: a missing file, a dangling link.
        fingerprint=filesystem.fingerprint([*entries, filesystem.Entry(parts=(), state=reason)]),
    )


def _ambiguous(name: str, places: Sequence[tuple[Path, ModelSpec | BrokenModel]]) -> BrokenModel:
    shown = ", ".join(_relative_names([place for place, _ in places]))
    entries = [
        filesystem.Entry(parts=(str(index),), state=model.fingerprint) for index, (_, model) in enumerate(places)
    ]
    return BrokenModel(
        name=name,
        folder=places[0][1].folder,
        reason=f"model {quoted(name)} is there {len(places)} times: {shown}; rename or remove all but one",
        fingerprint=filesystem.fingerprint(entries),
    )


def _relative_names(places: Sequence[Path]) -> list[str]:
    """The last components of the paths: two, or as many as needed to make them distinct."""
    parts = [place.absolute().parts[1:] for place in places]
    longest = max(map(len, parts))
    count = next((n for n in range(2, longest) if len({each[-n:] for each in parts}) == len(parts)), longest)
    return [quoted("/".join(each[-count:])) for each in parts]


def _shown(path: Path) -> str:
    return quoted(_name(path))


def _name(path: Path) -> str:
    """The last component of a path, with ``.`` and ``..`` resolved."""
    return path.name if path.name not in {"", ".."} else Path(os.path.realpath(path)).name or "/"
