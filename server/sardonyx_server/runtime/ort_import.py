"""Imports onnxruntime: without telemetry, and with its messages in the log instead of on the terminal.

The only module of the project that imports onnxruntime.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["FATAL_SEVERITY", "import_onnxruntime", "preload_gpu_libraries"]

FATAL_SEVERITY: Final = 4
"""onnxruntime's highest log severity, used for sessions and runs: their errors are raised with the same text anyway."""

_ERROR: Final = 3
_LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_STDERR: Final = 2
# Since 1.29 onnxruntime's wheels send usage data to their maker on Linux and macOS, too, starting at import: a thread,
# a database in the home directory, uploads. Only this variable, set before the import, prevents all of it (onnxruntime,
# pull request 27379); disable_telemetry_events() comes too late.
_TELEMETRY_OFF: Final = "ORT_DISABLE_TELEMETRY"

_LOG = logging.getLogger("sardonyx.runtime")


def import_onnxruntime() -> ModuleType:
    """Return the module ``onnxruntime``. The first call imports it, which takes about 0.1 s and 20 MB (2026-11-23).

    The first call sets an environment variable and redirects the stderr of all threads meanwhile, so make it before
    starting threads. The redirected text is written to the log.

    Raises:
        SettingsError: It is not installed, or its libraries do not load.
    """
    module = sys.modules.get("onnxruntime")
    if module is not None and hasattr(module, "InferenceSession"):
        return module
    os.environ.setdefault(_TELEMETRY_OFF, "1")
    try:
        with _stderr_to_log():
            import onnxruntime
    except ImportError as error:
        _LOG.warning("onnxruntime does not import: %s", error)
        raise SettingsError(
            "onnxruntime is not installed, or its libraries do not load; "
            "install it with: pip install 'sardonyx[server]', or 'sardonyx[gpu]' for a GPU"
        ) from error
    _configure_logging(onnxruntime)
    return cast("ModuleType", onnxruntime)


def preload_gpu_libraries(runtime: Any) -> None:
    """Load CUDA's and cuDNN's libraries from pip packages. Does nothing if there are none.

    Libraries that are not found are logged; a session that needs them fails by itself.
    """
    preload = getattr(runtime, "preload_dlls", None)
    if preload is None:
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        preload()
    for line in filter(None, map(str.strip, printed.getvalue().splitlines())):
        _LOG.info("onnxruntime: %s", line)


def _configure_logging(runtime: Any) -> None:
    runtime.disable_telemetry_events()
    # Errors only: warnings concern graphs that run nevertheless (unused initializers, nodes left on the CPU).
    runtime.set_default_logger_severity(_ERROR)
    callback = getattr(runtime, "set_default_logger_callback", None)
    if callback is not None:
        callback(_to_log, _ERROR)


def _to_log(severity: int, category: str, _session: str, location: str, message: str) -> None:
    """Log callback. Runs on any thread of onnxruntime with the GIL held; must not block."""
    _LOG.log(
        _LEVELS[min(severity, FATAL_SEVERITY)],
        "onnxruntime: %s",
        message.strip(),
        extra={"at": f"{category} {location}"},
    )


@contextlib.contextmanager
def _stderr_to_log() -> Iterator[None]:
    """Redirect file descriptor 2 to the log: onnxruntime warns from C++ before its log level can be set.

    An example is ``GPU device discovery failed`` on machines whose display has no PCI vendor (onnxruntime, issue
    27092).
    """
    try:
        saved = os.dup(_STDERR)
    except OSError:
        # There is no stderr, as under some service managers.
        yield
        return
    with _capture_file() as held:
        try:
            os.dup2(held.fileno(), _STDERR)
            try:
                yield
            finally:
                os.dup2(saved, _STDERR)
        finally:
            os.close(saved)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                # Warnings of onnxruntime are marked [W:; other text may be important.
                level = logging.DEBUG if "[W:onnxruntime" in line else logging.WARNING
                _LOG.log(level, "onnxruntime, at import: %s", line)


def _capture_file() -> IO[bytes]:
    """A temporary file for the redirected text; /dev/null in a read-only container without room for one."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return Path(os.devnull).open("w+b")
