"""The command ``inspect``: loads one model in this process and shows everything about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sardonyx_server.cli.exit_codes import CliError, ExitCode
from sardonyx_server.cli.loading import open_model, scan_paths
from sardonyx_server.cli.output import console, write_json
from sardonyx_server.cli.settings_sources import load_settings
from sardonyx_server.cli.views import view_to_json
from sardonyx_server.errors import LoadFailed
from sardonyx_server.settings import Settings

if TYPE_CHECKING:
    from sardonyx_server.repository.spec import ModelSpec

__all__ = ["run_inspect", "settings_for"]

_DEFAULT_FOLDER = Path("models")


def run_inspect(model: str, paths: Sequence[Path], *, version: int, providers: list[str] | None, as_json: bool) -> int:
    """Shows one version of one model.

    Args:
        model: Its name, or the path of an .onnx file.
        paths: Where to look; empty = ``models/``.
        version: 0 = the newest.
        providers: As ``--providers`` of ``serve``; None = from the environment, else the default.
        as_json: JSON instead of tables.

    Raises:
        CliError: There is no such model or version.
        LoadFailed: It cannot be loaded.
    """
    settings = settings_for(providers)
    spec = _find(model, paths)
    if version and version not in spec.versions:
        offered = ", ".join(map(str, spec.versions)) or "none"
        raise CliError(ExitCode.USAGE, f"model {spec.name!r} has no version {version}; versions: {offered}")
    view = open_model(spec, version or max(spec.versions), settings, with_config=True)
    view = replace(view, warnings=tuple(dict.fromkeys((*spec.warnings, *view.warnings))))
    if as_json:
        write_json(view_to_json(view))
    else:
        from sardonyx_server.cli.render import inspection

        console().print(inspection(view))
    return int(ExitCode.OK)


def settings_for(providers: list[str] | None) -> Settings:
    """Settings for a command that loads models without serving: as for ``serve``, with ``--providers``."""
    return load_settings(flags={"providers": providers}).settings


def _find(model: str, paths: Sequence[Path]) -> ModelSpec:
    from sardonyx_server.repository.spec import BrokenModel, is_onnx_name

    as_file = Path(model)
    if not paths and is_onnx_name(as_file.name):
        found = scan_paths([as_file])
        model = next(iter(found))
    else:
        found = scan_paths(list(paths) or [_DEFAULT_FOLDER])
    spec = found.get(model)
    if spec is None:
        raise CliError(ExitCode.USAGE, f"no model {model!r} here; models: {', '.join(sorted(found))}")
    if isinstance(spec, BrokenModel):
        raise LoadFailed(f"model {model!r}: {spec.reason}")
    return spec
