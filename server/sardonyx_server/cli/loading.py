"""Loads models in this process for ``inspect`` and ``check``, without a server.

Besides ``app.App``, the only place that builds engine objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sardonyx_server.cli.exit_codes import CliError, ExitCode
from sardonyx_server.cli.views import ModelView, view_of_model
from sardonyx_server.settings import Settings

if TYPE_CHECKING:
    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.repository.spec import BrokenModel, ModelSpec

__all__ = ["open_model", "require_models", "require_paths_exist", "scan_paths"]

_LAYOUT = "expected <model>/<version>/model.onnx or .onnx files"


def require_paths_exist(paths: Sequence[Path]) -> None:
    """Checks that every path exists and may hold models.

    Raises:
        CliError: A path is neither a folder nor a file that ends in .onnx.
    """
    from sardonyx_server.repository.spec import is_onnx_name

    for path in paths:
        try:
            if path.is_dir() or (path.is_file() and is_onnx_name(path.name)):
                continue
            is_other = path.exists()
        except OSError as error:  # such as a parent folder without permission, or a name that is too long
            raise CliError(ExitCode.USAGE, f"model repository {str(path)!r}: {error.strerror}") from None
        problem = "expected a folder or an .onnx file, got another file" if is_other else "no such file or folder"
        raise CliError(ExitCode.USAGE, f"model repository {str(path)!r}: {problem}")


def scan_paths(paths: Sequence[Path]) -> dict[str, ModelSpec | BrokenModel]:
    """Model name -> spec, or the reason why it is broken. Reads folders and configs, loads no model."""
    from sardonyx_server.repository.scan import scan

    require_paths_exist(paths)
    found = scan(paths)
    if not found:
        raise CliError(ExitCode.USAGE, f"no model in {_shown(paths)}: {_LAYOUT}")
    return dict(found)


def require_models(paths: Sequence[Path]) -> None:
    """Checks that there is something to serve in control mode ``none``, which scans the disk only once.

    A model that fails to load is enough, since its state is visible to probes. A folder without any model is an error.

    Raises:
        CliError: No path holds anything that looks like a model, or a path is itself the folder of one model.
    """
    from sardonyx_server.repository.scan import is_model_folder, is_stray, scan
    from sardonyx_server.repository.spec import BrokenModel

    found = scan(paths)
    broken = [model for model in found.values() if isinstance(model, BrokenModel)]
    folders = {path for path in paths if path.is_dir()}
    if len(broken) < len(found) or not all(model.folder in folders or is_stray(model) for model in broken):
        return
    one = next((path for path in paths if is_model_folder(path)), None)
    if one is not None:
        above = one.absolute().parent if one.name in {"", ".."} else one.parent
        raise CliError(
            ExitCode.USAGE,
            f"model repository {str(one)!r} is the folder of one model; give the folder above it: "
            f"'sardonyx serve {above}'",
        )
    if not broken:
        raise CliError(
            ExitCode.USAGE,
            f"no model in {_shown(paths)}: {_LAYOUT}; to add models later, use --model-control-mode poll or explicit",
        )
    more = f" (of {len(broken)} folders in it, none is a model)" if len(broken) > 1 else ""
    raise CliError(ExitCode.USAGE, f"no model in {_shown(paths)}: {broken[0].reason}{more}")


def _shown(paths: Sequence[Path]) -> str:
    return ", ".join(repr(str(path)) for path in paths)


def open_model(spec: ModelSpec, version: int, settings: Settings, *, with_config: bool = False) -> ModelView:
    """Loads, warms up and probes one version, makes a view of it, and closes it.

    Args:
        spec: From ``scan_paths``.
        version: One of ``spec.versions``.
        settings: Providers, cores and limits for loading.
        with_config: Whether the view includes the effective ModelConfig as text.

    Raises:
        LoadFailed: It cannot be loaded.
    """
    from google.protobuf import text_format

    from sardonyx_server.engine.loading.loader import Loader
    from sardonyx_server.runtime.backend import OrtBackend

    loader = Loader(
        OrtBackend(requested=settings.providers, cores=settings.cores, cache_folder=settings.provider_cache_dir),
        queue_rows=settings.max_queue_rows_per_model,
        queue_bytes=settings.max_queue_bytes_per_model,
        total_queue_bytes=settings.max_queue_bytes,
        probe_budget_s=settings.probe_budget_s,
        max_batch_rows=settings.max_batch_rows,
        lane=_NoLane(),
        on_runner_lost=lambda _error: None,
    )
    model = loader.load(spec, version, lambda _state: None)
    try:
        text = text_format.MessageToString(model.config, as_utf8=True) if with_config else ""
        return view_of_model(model, config_text=text)
    finally:
        model.drain(timeout_s=5.0)


class _NoLane:
    """A stand-in for the lane: models that would run inline need one even without a server."""

    def call_soon(self, task: Callable[[], None], /) -> None:
        """Runs the task at once."""
        task()

    def call_when_idle(self, task: Callable[[], None], /) -> None:
        """Runs the task at once."""
        task()

    def cancel_idle_call(self, _task: Callable[[], None], /) -> bool:
        """Every task has already run."""
        return False

    def notify_pending(self, model: Model, /) -> None:
        """No requests arrive."""
