"""Exit codes. They are a contract, since scripts and service managers act on them; see docs/configuration.md."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CliError", "ExitCode", "meanings"]


class ExitCode(IntEnum):
    """Exit code of ``sardonyx``."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    LOAD_FAILED = 3
    CANNOT_LISTEN = 4
    REQUEST_FAILED = 5
    TARGET_MISSED = 6
    INTERRUPTED = 130


_MEANINGS = {
    ExitCode.OK: "success; serve: stopped by a signal",
    ExitCode.UNEXPECTED: "unexpected error; SARDONYX_TRACEBACK=1 shows the traceback",
    ExitCode.USAGE: "invalid argument, environment variable, settings file or path",
    ExitCode.LOAD_FAILED: "a model failed to load (serve: only with --exit-on-error true)",
    ExitCode.CANNOT_LISTEN: "cannot listen on the address or port",
    ExitCode.REQUEST_FAILED: "the server could not be reached, or refused the request",
    ExitCode.TARGET_MISSED: "bench: the SLO is not met, or the run is invalid because the generator was late",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C before there was a result",
}


class CliError(Exception):
    """Ends the command with an exit code and one line on standard error.

    Args:
        code: The exit code.
        message: One line, without the program name.
    """

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def meanings() -> dict[int, str]:
    """Code -> meaning, in ascending order, for help and documentation."""
    return {int(code): _MEANINGS[code] for code in sorted(ExitCode)}
