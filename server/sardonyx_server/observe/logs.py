"""Logging: readable lines at a terminal, one JSON object per line otherwise.

The other layers log with the standard library (``logging.getLogger("sardonyx.<part>")``, fields in ``extra``); only
this module knows how events are formatted. Successful requests are not logged. Text printed by native libraries goes to
standard error and does not pass through here.

At start there is one minimum level (:func:`set_level`). While the server runs, each level can be switched separately,
as in Triton's log settings (:func:`set_levels`). Both take effect with the next event.
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
    "NonHttpFilter",
    "configure",
    "current_format",
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
        info: INFO.
        warning: WARNING.
        error: ERROR and CRITICAL.
        verbose: DEBUG if it is 1 or more; there are no finer levels.
    """

    info: bool = True
    warning: bool = True
    error: bool = True
    verbose: int = 0

    def logs(self, number: int) -> bool:
        """Whether events of this level (such as ``logging.INFO``) are logged."""
        if number >= logging.ERROR:
            return self.error
        if number >= logging.WARNING:
            return self.warning
        return self.info if number >= logging.INFO else self.verbose > 0


class _LogState:
    """The process-wide logging state: enabled levels and format. Also the filter of the handler."""

    def __init__(self) -> None:
        self.levels = LogLevels()
        self.log_format: LogFormat = "json"

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether an event is logged."""
        return self.levels.logs(record.levelno)


_STATE = _LogState()
_BY_LEVEL = {
    "debug": LogLevels(verbose=1),
    "info": LogLevels(),
    "warning": LogLevels(info=False),
    "error": LogLevels(info=False, warning=False),
}

# Libraries whose INFO events are of no use to operators.
_QUIET = ("uvicorn", "uvicorn.error", "watchfiles", "asyncio", "grpc", "urllib3")


# What uvicorn logs for each invalid HTTP request, and the replacement for operators.
_NOT_HTTP: Final = ("uvicorn.error", "Invalid HTTP request received.")
_NOT_HTTP_MESSAGE: Final = (
    "a caller does not speak HTTP/1.1 on the port of metrics and probes; models are served on --grpc-port"
)


class NonHttpFilter(logging.Filter):
    """Rewords uvicorn's event for callers that speak, for example, gRPC to an HTTP port, and limits it to one a minute.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._log_limiter = LogRateLimiter(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether an event is logged."""
        if (record.name, record.msg) != _NOT_HTTP:
            return True
        record.name, record.msg = "sardonyx.http", _NOT_HTTP_MESSAGE
        return self._log_limiter.allow()


class _CurrentStdout(logging.StreamHandler[TextIO]):
    """Writes to the current ``sys.stdout``, which a progress display may replace to print lines above itself."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute in typeshed; read-only here
        return sys.stdout


def resolve_format(setting: str, *, is_terminal: bool) -> LogFormat:
    """Resolve ``auto``: console at a terminal; json in a pipe, a file or under a service manager."""
    if setting == "auto":
        return "console" if is_terminal else "json"
    return "json" if setting == "json" else "console"


def configure(*, log_format: LogFormat, level: str, stream: TextIO | None = None, colours: bool = True) -> None:
    """Configures logging of the whole process. A second call replaces the first configuration.

    Args:
        log_format: ``json`` gives one object per line: timestamp (UTC), level, logger, event, and the fields.
        level: debug, info, warning or error.
        stream: Where to write; None = the current standard output at each event.
        colours: Whether console lines may be coloured.
    """
    handler: logging.Handler = _CurrentStdout() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(_formatter(log_format, colours=colours))
    handler.addFilter(_STATE)
    handler.addFilter(NonHttpFilter())
    _STATE.log_format = log_format
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def set_level(level: str) -> None:
    """Sets the minimum level of this server and of the libraries it uses."""
    logging.getLogger().setLevel(level.upper())
    set_levels(_BY_LEVEL[level])


def levels() -> LogLevels:
    """The levels that are enabled now."""
    return _STATE.levels


def set_levels(wanted: LogLevels) -> None:
    """Sets the enabled levels of this server; libraries also keep the minimum level from :func:`set_level`."""
    _STATE.levels = wanted
    on = [number for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR) if wanted.logs(number)]
    logging.getLogger("sardonyx").setLevel(min(on, default=logging.CRITICAL + 1))


def current_format() -> LogFormat:
    """The format of events."""
    return _STATE.log_format


def _formatter(log_format: LogFormat, *, colours: bool) -> logging.Formatter:
    processors: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format == "json":
        processors += [
            structlog.processors.format_exc_info,
            _order_fields,
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


def _order_fields(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    first = ("timestamp", "level", "logger", "event")
    return {key: event[key] for key in first if key in event} | {
        key: value for key, value in event.items() if key not in first
    }
