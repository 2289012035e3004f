"""Output of the commands: results to standard output, as text or JSON; notices to standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "print_notice", "write_json", "write_line"]

# Width of tables in a pipe: wide enough that text a reader may grep for is not wrapped.
_PIPE_COLUMNS = 160


def console() -> Console:
    """A console on standard output: coloured and as wide as the terminal, or plain and wide in a pipe."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else _PIPE_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def write_json(document: Any) -> None:
    """Write a JSON document: indented at a terminal, on one line in a pipe."""
    print(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None), flush=True)


def write_line(text: str) -> None:
    """Write one line of a result."""
    print(text, flush=True)


def print_notice(text: str) -> None:
    """Write one line to standard error, such as a warning."""
    print(f"sardonyx: {text}", file=sys.stderr, flush=True)
