"""Logs: readable lines for a person at a terminal, one JSON object per line for everything else.

The layers below log with the standard library (``logging.getLogger("sardonyx.<part>")``, fields in ``extra``); only
this module knows how events are printed. Nothing is logged for single requests that succeed: the hot path is silent.
Text that native libraries print by themselves goes to standard error and is none of ours.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog

__all__ = ["LogFormat", "configure", "resolve_format", "set_level"]

LogFormat = Literal["json", "console"]

# Libraries that say at INFO what only their authors want to know.
_QUIET = ("uvicorn", "uvicorn.error", "watchfiles", "asyncio", "grpc")


class _CurrentStdout(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stdout`` is at that moment, so that a progress display can print lines above itself."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute in typeshed; only read
        return sys.stdout


def resolve_format(setting: str, *, is_terminal: bool) -> LogFormat:
    """What ``auto`` means: console at a terminal, json in a pipe, a file or under a service manager."""
    if setting == "auto":
        return "console" if is_terminal else "json"
    return "json" if setting == "json" else "console"


def configure(*, log_format: LogFormat, level: str, stream: TextIO | None = None, colours: bool = True) -> None:
    """Sends every event of this process to one place. Called once, by the command line; again replaces the first.

    Args:
        log_format: ``json`` gives one object per line: timestamp (UTC), level, logger, event, and the fields.
        level: debug, info, warning or error.
        stream: Where to write; None means standard output, looked up anew for each event.
        colours: Whether console lines may carry colour.
    """
    handler: logging.Handler = _CurrentStdout() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(_formatter(log_format, colours=colours))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def set_level(level: str) -> None:
    """Changes the least severe level that is logged."""
    logging.getLogger().setLevel(level.upper())


def _formatter(log_format: LogFormat, *, colours: bool) -> logging.Formatter:
    processors: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format == "json":
        processors += [
            structlog.processors.format_exc_info,
            _in_reading_order,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=colours, sort_keys=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            )
        )
    return structlog.stdlib.ProcessorFormatter(
        processors=processors,
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(
                fmt="iso" if log_format == "json" else "%H:%M:%S", utc=log_format == "json", key="timestamp"
            ),
        ],
    )


def _in_reading_order(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    first = ("timestamp", "level", "logger", "event")
    return {key: event[key] for key in first if key in event} | {
        key: value for key, value in event.items() if key not in first
    }
