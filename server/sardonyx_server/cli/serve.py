"""The command ``serve``: checks settings, paths and ports, then runs the server until it is stopped."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sardonyx_server.cli.exit_codes import ExitCode
from sardonyx_server.cli.loading import require_models, require_paths_exist
from sardonyx_server.cli.output import console, print_notice, write_json
from sardonyx_server.cli.port_check import require_port_free
from sardonyx_server.cli.server_lifecycle import EventQueue, FatalError, forward_signals, run_until_stopped
from sardonyx_server.cli.settings_sources import LoadedSettings
from sardonyx_server.cli.startup_message import describe_readiness, log_serving, print_startup_message
from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from sardonyx_server.cli.views import ModelView
    from sardonyx_server.settings import Settings

__all__ = ["run_serve"]

_LOG = logging.getLogger("sardonyx.serve")
_MODELS_LOG = logging.getLogger("sardonyx.models")


def run_serve(loaded: LoadedSettings, *, show_settings: bool, as_json: bool) -> int:
    """Serves until it is stopped by a signal.

    Args:
        loaded: Settings and their sources.
        show_settings: Only print the settings.
        as_json: With ``show_settings``: print JSON. Otherwise: log JSON even at a terminal.

    Raises:
        SettingsError: No model repository is set.
        CliError: A repository is missing, an address cannot be listened on, or there is nothing to serve.
    """
    if show_settings:
        _show(loaded, as_json=as_json)
        return int(ExitCode.OK)
    settings = loaded.settings
    if not settings.model_repository:
        raise SettingsError(
            "no model repository: expected 'sardonyx serve PATH', --model-repository, SARDONYX_MODEL_REPOSITORY, "
            "or model_repository in the file of --config"
        )
    require_paths_exist(settings.model_repository)
    require_port_free(settings.host, settings.grpc_port, flag="--grpc-port")
    if settings.http_port is not None:
        require_port_free(settings.host, settings.http_port, flag="--http-port")
    if settings.metrics_port is not None:
        host, host_flag = settings.metrics_address or settings.host, "--metrics-address"
        require_port_free(host, settings.metrics_port, flag="--metrics-port (or 'off')", host_flag=host_flag)
    if settings.model_control_mode == "none":
        require_models(settings.model_repository)
    return int(_serve(loaded, began_s=_process_start_s()))


def _serve(loaded: LoadedSettings, *, began_s: float) -> ExitCode:
    from sardonyx_server.cli.progress import LoadingBar
    from sardonyx_server.observe import logs

    settings = loaded.settings
    log_format = logs.resolve_format(settings.log_format, is_terminal=sys.stdout.isatty())
    for_person = log_format == "console"
    # At a terminal the startup table replaces the log events of the first loads; only warnings are shown before it.
    logs.configure(
        log_format=log_format, level="warning" if for_person else settings.log_level, colours=sys.stdout.isatty()
    )
    for warning in loaded.warnings:
        _LOG.warning(warning)
    events = EventQueue()
    all_finished = True
    # Installed before loading: an early signal must stop the server cleanly, not kill the process.
    with forward_signals(events), LoadingBar(console() if for_person and sys.stdout.isatty() else None) as bar:
        from sardonyx_server.app import App
        from sardonyx_server.runtime.process import tune_process

        app = App(settings, on_progress=bar.update, on_fatal_error=lambda error: events.put(FatalError(error)))
        # Loading may take minutes; without this event the server would seem to hang.
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

        def on_started() -> ExitCode | None:
            from sardonyx_server.cli.views import views_of_entries

            bar.close()
            _MODELS_LOG.removeFilter(_is_not_in_the_table)
            logs.set_level(settings.log_level)
            tune_process()
            views = views_of_entries(app.registry.entries())
            ready_s = time.time() - began_s
            if for_person:
                print_startup_message(
                    app, settings, views, describe_readiness(views, ready_s=ready_s, strict=settings.strict_readiness)
                )
            else:
                log_serving(app, views, ready_s)
            return _verdict(settings, views)

        def on_stopping() -> None:
            bar.close()
            if for_person:
                print_notice("stopping: finishing requests in flight (press Ctrl-C again to stop at once)")
            else:
                _LOG.info("stopping", extra={"exit_timeout_s": settings.exit_timeout_secs})

        def on_stopped(finished: bool) -> None:  # noqa: FBT001  # the result of drain_and_stop
            nonlocal all_finished
            all_finished = finished
            if for_person:
                print_notice("stopped" if finished else "stopped; requests that did not finish in time were dropped")
            else:
                _LOG.info("stopped", extra={"finished": finished})

        code = run_until_stopped(
            app,
            events,
            exit_timeout_s=settings.exit_timeout_secs,
            on_started=on_started,
            on_stopping=on_stopping,
            on_stopped=on_stopped,
        )
    if not all_finished:
        # A thread is still inside onnxruntime; a normal interpreter shutdown could crash.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _is_not_in_the_table(record: logging.LogRecord) -> bool:
    """Log filter: drops events of failed models, which the startup table shows with their reasons."""
    from sardonyx_server.engine.models.versions import NOT_LOADED, NOT_SERVED

    return record.msg not in {NOT_LOADED, NOT_SERVED}


def _verdict(settings: Settings, views: Sequence[ModelView]) -> ExitCode | None:
    failed = sorted({view.name for view in views if view.state == "FAILED"})
    if settings.exit_on_error and failed:
        print_notice(f"stopping, because a model failed to load and exit_on_error is true: {', '.join(failed)}")
        return ExitCode.LOAD_FAILED
    return None


def _show(loaded: LoadedSettings, *, as_json: bool) -> None:
    from sardonyx_server.cli.render import settings_json, settings_table

    if as_json:
        write_json(settings_json(loaded))
    else:
        console().print(settings_table(loaded))
    for warning in loaded.warnings:
        print_notice(warning)


def _process_start_s() -> float:
    """Unix time at which this process started, so that "ready in" includes interpreter start and imports."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        booted_s = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return time.time()
    return booted_s + ticks / os.sysconf("SC_CLK_TCK")
