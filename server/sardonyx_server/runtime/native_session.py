"""Creates onnxruntime's InferenceSession, with its SessionOptions and RunOptions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.errors import LoadFailed
from sardonyx_server.runtime import ort_import
from sardonyx_server.runtime.catalogue import short_name
from sardonyx_server.runtime.error_messages import load_error_message
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sardonyx_server.runtime.placement import ProviderOption
    from sardonyx_server.runtime.tuning import SessionTuning

__all__ = ["model_source", "open_native_session", "provider_nodes", "run_options", "session_options"]

# Otherwise onnxruntime 1.32 would look for external data of a model in bytes in the current directory, and of one in a
# memory file among the descriptors of this process.
_NO_FOLDER: Final = "/nonexistent/external-data-needs-a-path"

# How long onnxruntime's threads spin before they sleep, in microseconds. With its default they occupy the core that
# does the I/O for 3 to 47 ms after each run (measured 2026-11-23).
_SPIN_US: Final = 100
# The first version with session.intra_op.spin_duration_us; in older ones the spinning is not bounded.
_BOUNDS_SPINNING: Final = (1, 26)

_LOG = logging.getLogger("sardonyx.runtime")


def session_options(runtime: Any, tuning: SessionTuning, *, threads: int, has_external_data: bool) -> Any:
    """SessionOptions; see ``session.open_session`` for the arguments."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = (tuning.inter_op_threads or threads) if tuning.parallel else 1
    modes = runtime.ExecutionMode
    options.execution_mode = modes.ORT_PARALLEL if tuning.parallel else modes.ORT_SEQUENTIAL
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = {
        "all": levels.ORT_ENABLE_ALL,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "basic": levels.ORT_ENABLE_BASIC,
        "off": levels.ORT_DISABLE_ALL,
    }[tuning.graph_level]
    options.enable_cpu_mem_arena = tuning.mem_arena
    options.enable_mem_pattern = tuning.mem_pattern
    options.log_severity_level = ort_import.FATAL_SEVERITY
    spins = threads > 1 and _version(runtime) >= _BOUNDS_SPINNING
    entries = {
        "session.intra_op.allow_spinning": "1" if spins else "0",
        "session.inter_op.allow_spinning": "0",
        "session.record_ep_graph_assignment_info": "1",
        **({"session.intra_op.spin_duration_us": str(_SPIN_US)} if spins else {}),
        **({} if has_external_data else {"session.model_external_initializers_file_folder_path": _NO_FOLDER}),
        **tuning.entries,
    }
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def run_options(runtime: Any, tuning: SessionTuning) -> Any:
    """A new RunOptions; terminating it ends all runs that use it."""
    options = runtime.RunOptions()
    options.log_severity_level = ort_import.FATAL_SEVERITY
    if tuning.arena_shrinkage:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", tuning.arena_shrinkage)
    return options


def model_source(path: Path, providers: Sequence[ProviderOption], *, has_external_data: bool) -> bytes | str:
    """The ``source`` of :func:`open_native_session` for a model in a file: its path or its contents.

    TensorRT names its cache entries after the file, among other things. The name of a memory file is a descriptor
    number, which differs at the next start, so that the model would be compiled again, for minutes. Bytes have no name.

    Raises:
        OSError: The file cannot be read.
    """
    keeps = any(short_name(option.name) == "tensorrt" for option in providers)
    return path.read_bytes() if keeps and not has_external_data else str(path)


def open_native_session(
    runtime: Any, name: str, source: bytes | str, options: Any, providers: Sequence[ProviderOption]
) -> Any:
    """An InferenceSession with exactly the requested providers.

    ``source`` is the model itself, or the path of its file.

    Raises:
        LoadFailed: onnxruntime rejected the model, or a provider did not start.
    """
    chosen = [(option.name, dict(option.options)) for option in providers]
    try:
        # enable_fallback=0: otherwise onnxruntime prints a message and falls back to the CPU if a provider fails.
        # read_config_from_model=0: otherwise a model could set session options.
        native = runtime.InferenceSession(
            source, options, providers=chosen, enable_fallback=0, read_config_from_model=0
        )
    except Exception as error:
        _LOG.info("model %s does not load", name, exc_info=True)
        raise LoadFailed(load_error_message(name, str(error), runtime.__version__)) from error
    native.disable_fallback()
    missing = [option.name for option in providers if option.name not in native.get_providers()]
    if missing:
        # onnxruntime logs the reason and continues with the remaining providers.
        raise LoadFailed(
            f"model {quoted(name)}: provider '{short_name(missing[0])}' is installed but did not start; "
            "the server's log has the reason, most often a driver or a library of another version"
        )
    if hasattr(native, "_model_bytes"):
        # A second copy of the weights, kept only for the fallback, which is off.
        native._model_bytes = None  # noqa: SLF001 - no public way
    return native


def provider_nodes(native: Any) -> dict[str, int]:
    """Provider -> number of nodes, most first; {} if this onnxruntime does not report it."""
    info = getattr(native, "get_provider_graph_assignment_info", None)
    if info is None:
        return {}
    counts: dict[str, int] = {}
    try:
        for part in info():
            counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    except Exception:  # noqa: BLE001 - informational only; must not fail the load
        _LOG.debug("onnxruntime does not tell which provider owns which node", exc_info=True)
        return {}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _version(runtime: Any) -> tuple[int, ...]:
    """(major, minor); () for a build with another version scheme."""
    parts = runtime.__version__.split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()
