"""Entry point of ``sardonyx``: runs a command and turns every outcome into an exit code and one line of error.

Tracebacks are shown only on request. Nothing heavy is imported until a command runs.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from sardonyx_server.cli.exit_codes import CliError, ExitCode
from sardonyx_server.errors import CannotListen, LoadFailed, ServerError
from sardonyx_server.text import pip_install

__all__ = ["TRACEBACK_VARIABLE", "main", "run"]

TRACEBACK_VARIABLE = "SARDONYX_TRACEBACK"
_CODES = {CannotListen: ExitCode.CANNOT_LISTEN, LoadFailed: ExitCode.LOAD_FAILED}
# Module missing from plain `pip install sardonyx` (the client) -> extra that installs it.
_EXTRAS = dict.fromkeys(("typer", "pydantic_settings", "rich", "structlog", "onnxruntime"), "server") | {
    "hdrh": "bench"
}


def main() -> None:
    """Runs the command line of this process and exits with its code; the console script calls it."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line.

    Args:
        arguments: Without the program name.

    Returns:
        The exit code; see ``exit_codes.py``. Errors have been written to standard error, one line each.
    """
    if not arguments:
        _dispatch(["--help"])
        return int(ExitCode.USAGE)
    try:
        # An alias that users expect.
        return _dispatch(["version"] if list(arguments) == ["--version"] else arguments)
    except CliError as error:
        return _fail(error.code, error.message)
    except ServerError as error:
        return _fail(_CODES.get(type(error), ExitCode.USAGE), error.message)
    except KeyboardInterrupt:
        return _fail(ExitCode.INTERRUPTED, "interrupted")
    except BrokenPipeError:
        # The reader of our output has exited (a pager, head). Redirecting stdout silences the final flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except ModuleNotFoundError as error:
        if error.name in _EXTRAS:
            extra = _EXTRAS[error.name]
            return _fail(
                ExitCode.USAGE, f"{error.name} is not installed; the extra {extra!r} has it: {pip_install(extra)}"
            )
        return _unexpected(error)
    except Exception as error:  # noqa: BLE001  # last resort: a bug is reported in one line, too
        return _unexpected(error)


def _dispatch(arguments: Sequence[str]) -> int:
    import typer

    from sardonyx_server.cli.commands import app

    command = typer.main.get_command(app)
    try:
        result = command.main(args=list(arguments), prog_name="sardonyx", standalone_mode=False)
    except typer.Abort:
        return _fail(ExitCode.INTERRUPTED, "interrupted")
    except Exception as error:
        # The class of usage errors differs between releases of typer and click; all have these two attributes.
        text = getattr(error, "format_message", None)
        if text is None or getattr(error, "exit_code", None) is None:
            raise
        return _fail(ExitCode.USAGE, _usage(error, " ".join(text().split()), arguments))
    return int(result) if isinstance(result, int) else int(ExitCode.OK)


def _usage(error: Exception, message: str, arguments: Sequence[str]) -> str:
    """The message for an invalid command line: what is wrong, and what to write instead or where to look."""
    first = arguments[0]
    path = getattr(getattr(error, "ctx", None), "command_path", "sardonyx")
    message = f"{message[:1].lower()}{message[1:].rstrip('.')}"
    option = getattr(error, "option_name", None)
    if isinstance(option, str) and message.startswith("no such option"):
        from sardonyx_server.cli.triton_flags import advice

        if first.startswith("-"):
            return f"no such option: {option}; options come after a command, such as 'sardonyx serve {option} ...'"
        instead = advice(option) if first == "serve" else ""
        if instead:
            return f"no such option: {option}, which is Triton's; {instead}"
    elif message.startswith("no such command") and Path(first).exists():
        return f"no such command {first!r}; to serve it, write: sardonyx serve {shlex.quote(first)}"
    return f"{message} (see '{path} --help')"


def _unexpected(error: Exception) -> int:
    if os.environ.get(TRACEBACK_VARIABLE):
        import traceback

        traceback.print_exception(error)
    text = " ".join(str(error).split())
    return _fail(
        ExitCode.UNEXPECTED,
        f"unexpected {type(error).__name__}: {text} (a bug; {TRACEBACK_VARIABLE}=1 shows where)",
    )


def _fail(code: ExitCode, message: str) -> int:
    print(f"sardonyx: {message}", file=sys.stderr)
    return int(code)
