"""Opens models in this process for ``inspect`` and ``check``, without a server.

The only place of the command line that builds engine objects besides ``app.App``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sardonyx_server.cli.exits import Exit, ExitWith
from sardonyx_server.cli.views import ModelView, view_of_model
from sardonyx_server.settings import Settings

if TYPE_CHECKING:
    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.repository.spec import BrokenModel, ModelSpec

__all__ = ["existing", "open_model", "require_models", "scan_paths"]

_LAYOUT = "expected <model>/<version>/model.onnx or .onnx files"


def existing(paths: Sequence[Path]) -> None:
    """Makes sure that what is to be read is there.

    Raises:
        ExitWith: A path is neither a folder nor a file that ends in .onnx.
    """
    from sardonyx_server.repository.spec import is_onnx_name

    for path in paths:
        try:
            if path.is_dir() or (path.is_file() and is_onnx_name(path.name)):
                continue
            is_other = path.exists()
        except OSError as error:  # a folder above it that may not be entered, a name that is too long
            raise ExitWith(Exit.USAGE, f"model repository {str(path)!r}: {error.strerror}") from None
        problem = "expected a folder or an .onnx file, got another file" if is_other else "no such file or folder"
        raise ExitWith(Exit.USAGE, f"model repository {str(path)!r}: {problem}")


def scan_paths(paths: Sequence[Path]) -> dict[str, ModelSpec | BrokenModel]:
    """Model name -> what lies on disk, broken ones with their reason. Reads folders and configs, loads nothing."""
    from sardonyx_server.repository.scan import scan

    existing(paths)
    found = scan(paths)
    if not found:
        raise ExitWith(Exit.USAGE, f"no model in {_shown(paths)}: {_LAYOUT}")
    return dict(found)


def require_models(paths: Sequence[Path]) -> None:
    """Makes sure that something may be served of what is looked at once and never again.

    A model that fails is something: its state is shown, and probes tell of it. A folder that is no repository is not.

    Raises:
        ExitWith: No path holds anything that was meant as a model, or the only ones are themselves folders of a model.
    """
    from sardonyx_server.repository.scan import is_one_model, is_stray, scan
    from sardonyx_server.repository.spec import BrokenModel

    found = scan(paths)
    none = [model for model in found.values() if isinstance(model, BrokenModel)]
    folders = {path for path in paths if path.is_dir()}
    if len(none) < len(found) or not all(model.folder in folders or is_stray(model) for model in none):
        return
    one = next((path for path in paths if is_one_model(path)), None)
    if one is not None:
        above = one.absolute().parent if one.name in {"", ".."} else one.parent
        raise ExitWith(
            Exit.USAGE,
            f"model repository {str(one)!r} is the folder of one model; give the folder above it: "
            f"'sardonyx serve {above}'",
        )
    if not none:
        raise ExitWith(
            Exit.USAGE,
            f"no model in {_shown(paths)}: {_LAYOUT}; "
            "models that come later need --model-control-mode poll or explicit",
        )
    more = f" (of {len(none)} folders in it, none is a model)" if len(none) > 1 else ""
    raise ExitWith(Exit.USAGE, f"no model in {_shown(paths)}: {none[0].reason}{more}")


def _shown(paths: Sequence[Path]) -> str:
    return ", ".join(repr(str(path)) for path in paths)


def open_model(spec: ModelSpec, version: int, settings: Settings, *, with_config: bool = False) -> ModelView:
    """Loads, warms and probes one version, looks at it, and closes it again.

    Args:
        spec: From ``scan_paths``.
        version: One of ``spec.versions``.
        settings: Providers, cores and bounds to load it with.
        with_config: Whether the view holds the effective ModelConfig as text.

    Raises:
        LoadFailed: It cannot be loaded; the message says why.
    """
    from google.protobuf import text_format

    from sardonyx_server.engine.loading.loader import Loader
    from sardonyx_server.runtime.machine import Machine

    loader = Loader(
        Machine(requested=settings.providers, cores=settings.cores, cache_folder=settings.provider_cache_dir),
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
    """What stands in for the lane where none is: a model may be found to run inline all the same."""

    def later(self, task: Callable[[], None], /) -> None:
        """At once."""
        task()

    def between(self, task: Callable[[], None], /) -> None:
        """At once."""
        task()

    def withdraw(self, _task: Callable[[], None], /) -> bool:
        """It is done."""
        return False

    def offer(self, model: Model, /) -> None:
        """Nobody asks anything of the model."""
