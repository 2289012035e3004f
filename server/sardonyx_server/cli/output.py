"""Where the verbs write: results to standard output, as JSON or for a person; remarks to standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "remark", "write_json", "write_line"]

# A table in a pipe has no window to fit in; wide enough that nothing is folded which a reader would search for.
_PIPE_COLUMNS = 160


def console() -> Console:
    """Standard output for tables: colour and the window's width at a terminal, plain and wide in a pipe."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else _PIPE_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def write_json(document: Any) -> None:
    """One document, indented for a person at a terminal, on one line for a program."""
    print(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None), flush=True)


def write_line(text: str) -> None:
    """One line of a result."""
    print(text, flush=True)


def remark(text: str) -> None:
    """One line beside the result, such as a warning."""
    print(f"sardonyx: {text}", file=sys.stderr, flush=True)
