"""The verb ``serve``: checks what can be checked at once, and runs the server. What is said of it is in greeting.py."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sardonyx_server.cli.exits import Exit
from sardonyx_server.cli.greeting import greet, log_serving, readiness
from sardonyx_server.cli.listen import require_free
from sardonyx_server.cli.loading import existing, require_models
from sardonyx_server.cli.output import console, remark, write_json
from sardonyx_server.cli.sources import Loaded
from sardonyx_server.cli.supervise import Inbox, Lost, signals_into, supervise
from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from sardonyx_server.cli.views import ModelView
    from sardonyx_server.settings import Settings

__all__ = ["run_serve"]

_LOG = logging.getLogger("sardonyx.serve")
_MODELS_LOG = logging.getLogger("sardonyx.models")


def run_serve(loaded: Loaded, *, show_settings: bool, as_json: bool) -> int:
    """Serves until it is told to stop.

    Args:
        loaded: Settings and where they came from.
        show_settings: Only print them.
        as_json: With ``show_settings``: as JSON. Otherwise: log as JSON, also at a terminal.

    Raises:
        SettingsError: No repository is named.
        ExitWith: A repository is missing, the address cannot be listened on, or there is nothing that could be served.
    """
    if show_settings:
        _show(loaded, as_json=as_json)
        return int(Exit.OK)
    settings = loaded.settings
    if not settings.model_repository:
        raise SettingsError(
            "no model repository: expected 'sardonyx serve PATH', --model-repository, SARDONYX_MODEL_REPOSITORY, "
            "or model_repository in the file of --config"
        )
    existing(settings.model_repository)
    require_free(settings.host, settings.grpc_port, flag="--grpc-port")
    if settings.http_port is not None:
        require_free(settings.host, settings.http_port, flag="--http-port")
    if settings.metrics_port is not None:
        host, host_flag = settings.metrics_address or settings.host, "--metrics-address"
        require_free(host, settings.metrics_port, flag="--metrics-port (or 'off')", host_flag=host_flag)
    if settings.model_control_mode == "none":
        require_models(settings.model_repository)
    return int(_serve(loaded, began_s=_process_start_s()))


def _serve(loaded: Loaded, *, began_s: float) -> Exit:
    from sardonyx_server.cli.progress import LoadingBar
    from sardonyx_server.observe import logs

    settings = loaded.settings
    log_format = logs.resolve_format(settings.log_format, is_terminal=sys.stdout.isatty())
    for_person = log_format == "console"
    # At a terminal the table says what the events of the first loads would; only trouble is shown before it.
    logs.configure(
        log_format=log_format, level="warning" if for_person else settings.log_level, colours=sys.stdout.isatty()
    )
    for warning in loaded.warnings:
        _LOG.warning(warning)
    inbox = Inbox()
    all_finished = True
    # Before anything is loaded: a signal that comes early must stop the server, not end the process.
    with signals_into(inbox), LoadingBar(console() if for_person and sys.stdout.isatty() else None) as bar:
        from sardonyx_server.app import App
        from sardonyx_server.runtime.process import tune_process

        app = App(settings, on_progress=bar.update, on_lost=lambda error: inbox.put(Lost(error)))
        # Loading may take minutes, and a log that says nothing until then looks like a server that hangs.
        _LOG.info(
            "starting",
            extra={
                "version": importlib.metadata.version("sardonyx"),
                "transport": app.transport,
                "repository": [str(path) for path in settings.model_repository],
                "config": loaded.config or None,
            },
        )

        if for_person:
            _MODELS_LOG.addFilter(_is_not_in_the_table)

        def on_started() -> Exit | None:
            from sardonyx_server.cli.views import views_of_entries

            bar.close()
            _MODELS_LOG.removeFilter(_is_not_in_the_table)
            logs.set_level(settings.log_level)
            tune_process()
            views = views_of_entries(app.registry.entries())
            ready_s = time.time() - began_s
            if for_person:
                greet(app, views, readiness(views, ready_s=ready_s, strict=settings.strict_readiness))
            else:
                log_serving(app, views, ready_s)
            return _verdict(settings, views)

        def on_stopping() -> None:
            bar.close()
            if for_person:
                remark("stopping: finishing the requests in flight (Ctrl-C again hurries)")
            else:
                _LOG.info("stopping", extra={"exit_timeout_s": settings.exit_timeout_secs})

        def on_stopped(finished: bool) -> None:  # noqa: FBT001  # the answer of drain_and_stop, passed on
            nonlocal all_finished
            all_finished = finished
            if for_person:
                remark("stopped" if finished else "stopped; requests that took too long were dropped")
            else:
                _LOG.info("stopped", extra={"finished": finished})

        code = supervise(
            app,
            inbox,
            exit_timeout_s=settings.exit_timeout_secs,
            on_started=on_started,
            on_stopping=on_stopping,
            on_stopped=on_stopped,
        )
    if not all_finished:
        # A thread is still inside onnxruntime: to take the interpreter down around it may end in a crash.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _is_not_in_the_table(record: logging.LogRecord) -> bool:
    """A filter: the table that follows shows each model that failed, with the reason."""
    from sardonyx_server.engine.models.versions import NOT_LOADED, NOT_SERVED

    return record.msg not in {NOT_LOADED, NOT_SERVED}


def _verdict(settings: Settings, views: Sequence[ModelView]) -> Exit | None:
    failed = sorted({view.name for view in views if view.state == "FAILED"})
    if settings.exit_on_error and failed:
        remark(f"stopping, because a model failed to load and exit_on_error is true: {', '.join(failed)}")
        return Exit.LOAD_FAILED
    return None


def _show(loaded: Loaded, *, as_json: bool) -> None:
    from sardonyx_server.cli.render import settings_json, settings_table

    if as_json:
        write_json(settings_json(loaded))
    else:
        console().print(settings_table(loaded))
    for warning in loaded.warnings:
        remark(warning)


def _process_start_s() -> float:
    """Unix time at which this process began, so that "ready in" counts the interpreter and the imports too."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        booted_s = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return time.time()
    return booted_s + ticks / os.sysconf("SC_CLK_TCK")
