"""What is said of a server that has started: to the person at the terminal, or to the log."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sardonyx_server.cli.output import console
from sardonyx_server.cli.views import FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.app import App
    from sardonyx_server.cli.views import ModelView

__all__ = ["greet", "log_serving", "program_words", "readiness"]

_LOG = logging.getLogger("sardonyx.serve")


def greet(app: App, views: Sequence[ModelView], state: str) -> None:
    """Tell a person at a terminal: the models, the addresses, and what to try next.

    Args:
        app: Has started.
        views: All versions that were to be loaded.
        state: As :func:`readiness` says it.
    """
    from rich.text import Text

    from sardonyx_server.cli.render import models_table
    from sardonyx_server.cli.samples import try_next

    out = console()
    out.print(models_table(views))
    metrics = (", metrics on ", (app.metrics_url, "bold")) if app.metrics_url else ()
    out.print(
        Text.assemble("\nserving gRPC on ", (app.address, "bold"), *metrics, f", {state}; Ctrl-C stops"),
        soft_wrap=True,
    )
    command = try_next(views, program=program_words(sys.argv[0]), address=_reachable(app.address))
    if command is not None:
        out.print("\nTry next, in a second terminal:\n")
        # Never folded: a line break in the middle would not survive copying.
        out.print(Text(f"    {command}", style="bold green"), soft_wrap=True)
        out.print("")


def log_serving(app: App, views: Sequence[ModelView], ready_s: float) -> None:
    """Tell the log. ``ready_s``: time from the start of the process."""
    failed = sorted({view.name for view in views if view.state == FAILED})
    ready = sorted({view.name for view in views if view.is_ready})
    _LOG.info(
        "serving",
        extra={
            "address": app.address,
            "metrics": app.metrics_url,
            "ready_s": round(ready_s, 3),
            "models_ready": ready,
            "models_failed": failed,
        },
    )


def readiness(views: Sequence[ModelView], *, ready_s: float, strict: bool) -> str:
    """What the greeting says of the server as a whole: what its probes say.

    Args:
        views: All versions that were to be loaded.
        ready_s: Time from the start of the process.
        strict: Whether it is ready only when every model is.
    """
    failed = sum(view.state == FAILED for view in views)
    if not failed:
        return f"ready in {ready_s:.1f} s"
    some = f"{failed} of {len(views)} failed to load"
    return f"ready in {ready_s:.1f} s, but {some}" if not strict else f"not ready: {some}"


def program_words(argument: str) -> list[str]:
    """How this program is started, so that it works from any folder: its full path, or Python and the module.

    Args:
        argument: ``sys.argv[0]``.
    """
    path = Path(argument)
    if path.name == "__main__.py":
        return [sys.executable, "-m", "sardonyx_server.cli"]
    found = shutil.which(argument) if path.parent == Path() else None
    return [str(Path(found).absolute() if found else path.absolute())]


def _reachable(address: str) -> str:
    from sardonyx_server.cli.samples import address_for_clients

    host, _, port = address.rpartition(":")
    return address_for_clients(host, int(port))
