"""Logs: readable lines for a person at a terminal, one JSON object per line for everything else.

The layers below log with the standard library (``logging.getLogger("sardonyx.<part>")``, fields in ``extra``); only
this module knows how events are printed. Nothing is logged for single requests that succeed: the hot path is silent.
Text that native libraries print by themselves goes to standard error and is none of ours.

What is logged is one level at start (:func:`set_level`); while the server runs each level can be switched by itself, as
Triton's log settings have it (:func:`set_levels`). Both are effective from the next event on.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TextIO

import structlog

from sardonyx_server.log_rate_limiter import LogRateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LogFormat",
    "LogLevels",
    "Strangers",
    "configure",
    "format_in_force",
    "levels",
    "resolve_format",
    "set_level",
    "set_levels",
]

LogFormat = Literal["json", "console"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLevels:
    """Which events are logged.

    Attributes:
        info: Those of level INFO.
        warning: WARNING.
        error: ERROR and CRITICAL.
        verbose: DEBUG where it is 1 or more; all of them, since events have no finer levels.
    """

    info: bool = True
    warning: bool = True
    error: bool = True
    verbose: int = 0

    def logs(self, number: int) -> bool:
        """Whether events of this level (``logging.INFO`` and so on) are logged."""
        if number >= logging.ERROR:
            return self.error
        if number >= logging.WARNING:
            return self.warning
        return self.info if number >= logging.INFO else self.verbose > 0


class _InForce:
    """Of this process, for there is one log: what is printed, and how. A filter of its handler."""

    def __init__(self) -> None:
        self.levels = LogLevels()
        self.log_format: LogFormat = "json"

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether an event is printed."""
        return self.levels.logs(record.levelno)


_IN_FORCE = _InForce()
_BY_LEVEL = {
    "debug": LogLevels(verbose=1),
    "info": LogLevels(),
    "warning": LogLevels(info=False),
    "error": LogLevels(info=False, warning=False),
}

# Libraries that say at INFO what only their authors want to know.
_QUIET = ("uvicorn", "uvicorn.error", "watchfiles", "asyncio", "grpc", "urllib3")


# What uvicorn logs for each request that is none, and what it means to an operator.
_NOT_HTTP: Final = ("uvicorn.error", "Invalid HTTP request received.")
_GRPC_IS_ELSEWHERE: Final = (
    "a caller does not speak HTTP/1.1 where metrics and probes are; models are served on the port of --grpc-port"
)


class Strangers(logging.Filter):
    """Of callers that speak gRPC, say, to an HTTP port: once a minute, in words of ours. They try again all the time.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._log_limiter = LogRateLimiter(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether an event is printed."""
        if (record.name, record.msg) != _NOT_HTTP:
            return True
        record.name, record.msg = "sardonyx.http", _GRPC_IS_ELSEWHERE
        return self._log_limiter.allow()


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
    handler.addFilter(_IN_FORCE)
    handler.addFilter(Strangers())
    _IN_FORCE.log_format = log_format
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def set_level(level: str) -> None:
    """Changes the least severe level that is logged, of this server and of the libraries beneath it."""
    logging.getLogger().setLevel(level.upper())
    set_levels(_BY_LEVEL[level])


def levels() -> LogLevels:
    """Which events are logged now."""
    return _IN_FORCE.levels


def set_levels(wanted: LogLevels) -> None:
    """Changes which events of this server are logged; libraries keep the level from :func:`set_level` at least."""
    _IN_FORCE.levels = wanted
    on = [number for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR) if wanted.logs(number)]
    logging.getLogger("sardonyx").setLevel(min(on, default=logging.CRITICAL + 1))


def format_in_force() -> LogFormat:
    """How events are printed."""
    return _IN_FORCE.log_format


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
