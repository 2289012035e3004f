"""Markdown in the README's style: wrapped paragraphs, tables, and escaped cells."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Final

__all__ = ["cell", "item", "paragraph", "strong", "table"]

# As long as lines of the README are.
_WIDTH: Final = 124


def paragraph(*parts: str) -> str:
    """Parts with a space between them, but none before a semicolon."""
    text = " ".join(part for part in parts if part).replace(" ;", ";")
    return fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def item(text: str) -> str:
    """An item of a list."""
    return fill(
        text, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are Markdown; :func:`cell` escapes text."""
    lines = [head, ["---" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def strong(text: str, *, missed: bool) -> str:
    """Bold if missed, but not its interval."""
    middle, space, spread = text.partition(" (")
    return f"**{middle}**{space}{spread}" if missed else text


def cell(text: str) -> str:
    """Escape text for a table cell."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
