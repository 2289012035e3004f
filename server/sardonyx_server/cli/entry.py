"""Entry point of the command ``sardonyx``: runs a verb and turns whatever happens into one line and an exit code.

Tracebacks are for bugs and shown on request only. Imports nothing heavy until a verb runs.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from sardonyx_server.cli.exits import Exit, ExitWith
from sardonyx_server.errors import CannotListen, LoadFailed, ServerError
from sardonyx_server.text import pip_install

__all__ = ["TRACEBACK_VARIABLE", "main", "run"]

TRACEBACK_VARIABLE = "SARDONYX_TRACEBACK"
_CODES = {CannotListen: Exit.CANNOT_LISTEN, LoadFailed: Exit.LOAD_FAILED}
# Module that `pip install sardonyx` alone, the client, does not bring -> extra that does.
_EXTRAS = dict.fromkeys(("typer", "pydantic_settings", "rich", "structlog", "onnxruntime"), "server") | {
    "hdrh": "bench"
}


def main() -> None:
    """What the installed program calls: runs the verb on the command line and leaves the process with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code; see ``exits.py``. Errors have been written to standard error, one line each.
    """
    if not arguments:
        _dispatch(["--help"])
        return int(Exit.USAGE)
    try:
        # What every other program is asked with.
        return _dispatch(["version"] if list(arguments) == ["--version"] else arguments)
    except ExitWith as error:
        return _fail(error.code, error.message)
    except ServerError as error:
        return _fail(_CODES.get(type(error), Exit.USAGE), error.message)
    except KeyboardInterrupt:
        return _fail(Exit.INTERRUPTED, "interrupted")
    except BrokenPipeError:
        # The reader of our output went away (a pager, head): its own business. Silences the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.OK)
    except ModuleNotFoundError as error:
        if error.name in _EXTRAS:
            extra = _EXTRAS[error.name]
            return _fail(Exit.USAGE, f"{error.name} is missing, which the extra {extra!r} brings: {pip_install(extra)}")
        return _unexpected(error)
    except Exception as error:  # noqa: BLE001  # the last resort: a bug is one line too
        return _unexpected(error)


def _dispatch(arguments: Sequence[str]) -> int:
    import typer

    from sardonyx_server.cli.commands import app

    command = typer.main.get_command(app)
    try:
        result = command.main(args=list(arguments), prog_name="sardonyx", standalone_mode=False)
    except typer.Abort:
        return _fail(Exit.INTERRUPTED, "interrupted")
    except Exception as error:
        # Usage errors differ in class between releases of typer and click; all of them have these two.
        text = getattr(error, "format_message", None)
        if text is None or getattr(error, "exit_code", None) is None:
            raise
        return _fail(Exit.USAGE, _usage(error, " ".join(text().split()), arguments))
    return int(result) if isinstance(result, int) else int(Exit.OK)


def _usage(error: Exception, message: str, arguments: Sequence[str]) -> str:
    """One line about a command line that is none: what is wrong, and where to look or what to write instead."""
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
    return f"{message} ('{path} --help' lists what there is)"


def _unexpected(error: Exception) -> int:
    if os.environ.get(TRACEBACK_VARIABLE):
        import traceback

        traceback.print_exception(error)
    text = " ".join(str(error).split())
    return _fail(
        Exit.UNEXPECTED,
        f"unexpected {type(error).__name__}: {text} (a bug; {TRACEBACK_VARIABLE}=1 shows where)",
    )


def _fail(code: Exit, message: str) -> int:
    print(f"sardonyx: {message}", file=sys.stderr)
    return int(code)
