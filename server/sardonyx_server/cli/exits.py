"""Exit codes of the command: a contract, for scripts and service managers act on them; see docs/configuration.md."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit", "ExitWith", "meanings"]


class Exit(IntEnum):
    """How a run of ``sardonyx`` ended."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    LOAD_FAILED = 3
    CANNOT_LISTEN = 4
    REQUEST_FAILED = 5
    TARGET_MISSED = 6
    INTERRUPTED = 130


_MEANINGS = {
    Exit.OK: "done; for serve: stopped by a signal",
    Exit.UNEXPECTED: "an error nobody foresaw; SARDONYX_TRACEBACK=1 shows where",
    Exit.USAGE: "a wrong argument, variable, settings file or path",
    Exit.LOAD_FAILED: "a model failed to load (serve: only with --exit-on-error true)",
    Exit.CANNOT_LISTEN: "the address or port cannot be listened on",
    Exit.REQUEST_FAILED: "the server could not be reached, or refused the request",
    Exit.TARGET_MISSED: "bench: the SLO is not met, or the generator was late so often that the run does not count",
    Exit.INTERRUPTED: "interrupted with Ctrl-C before there was a result",
}


class ExitWith(Exception):
    """Ends the command with a code and one line on standard error.

    Args:
        code: How the run ends.
        message: One line for a person, without the program's name.
    """

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def meanings() -> dict[int, str]:
    """Code -> what it means, in ascending order; help and documentation are made of it."""
    return {int(code): _MEANINGS[code] for code in sorted(Exit)}
