"""The message of a server that has started: a table and addresses at the terminal, or a log event."""

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
    from sardonyx_server.settings import Settings

__all__ = ["describe_readiness", "log_serving", "print_startup_message", "program_command"]

_LOG = logging.getLogger("sardonyx.serve")


def print_startup_message(app: App, settings: Settings, views: Sequence[ModelView], state: str) -> None:
    """Print the models, the addresses and an example command to the terminal.

    Args:
        app: The started server.
        settings: Its settings.
        views: All versions that were to be loaded.
        state: From :func:`describe_readiness`.
    """
    from rich.text import Text

    from sardonyx_server.cli.example_command import example_command
    from sardonyx_server.cli.render import models_table

    out = console()
    out.print(models_table(views))
    metrics = (", metrics on ", (app.metrics_url, "bold")) if app.metrics_url else ()
    out.print(
        Text.assemble("\nserving gRPC on ", (app.address, "bold"), *metrics, f", {state}; press Ctrl-C to stop"),
        soft_wrap=True,
    )
    command = example_command(
        views, program=program_command(sys.argv[0]), address=_reachable(app.address), tls=_tls_options(settings)
    )
    if command is not None:
        out.print("\nTry it in a second terminal:\n")
        # Never wrapped, so that it can be copied.
        out.print(Text(f"    {command}", style="bold green"), soft_wrap=True)
        out.print("")


def log_serving(app: App, views: Sequence[ModelView], ready_s: float) -> None:
    """Log the event "serving". ``ready_s`` is the time since the start of the process."""
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


def describe_readiness(views: Sequence[ModelView], *, ready_s: float, strict: bool) -> str:
    """The readiness of the server as its probes report it, for the startup message.

    Args:
        views: All versions that were to be loaded.
        ready_s: Time since the start of the process.
        strict: Whether the server is ready only if every model is.
    """
    failed = sum(view.state == FAILED for view in views)
    if not failed:
        return f"ready in {ready_s:.1f} s"
    some = f"{failed} of {len(views)} failed to load"
    return f"ready in {ready_s:.1f} s, but {some}" if not strict else f"not ready: {some}"


def program_command(argument: str) -> list[str]:
    """The command that starts this program from any folder: its full path, or Python and the module.

    Args:
        argument: ``sys.argv[0]``.
    """
    path = Path(argument)
    if path.name == "__main__.py":
        return [sys.executable, "-m", "sardonyx_server.cli"]
    found = shutil.which(argument) if path.parent == Path() else None
    return [str(Path(found).absolute() if found else path.absolute())]


def _reachable(address: str) -> str:
    from sardonyx_server.cli.example_command import address_for_clients

    host, _, port = address.rpartition(":")
    return address_for_clients(host, int(port))


def _tls_options(settings: Settings) -> list[str]:
    """Options for an example of ``infer``; which authority signed the server's certificate, only the operator knows."""
    if not settings.uses_tls:
        return []
    own = ["--certificate", "CLIENT.pem", "--key", "CLIENT.key"] if settings.grpc_use_ssl_mutual else []
    return ["--ca", "CA.pem", *own]
