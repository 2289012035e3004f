"""Markdown as the README has it: paragraphs of its width, tables, cells that nothing of others can end."""

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
    """Of a list."""
    return fill(
        text, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Its cells are Markdown; :func:`cell` makes them of text."""
    lines = [head, ["---" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def strong(text: str, *, missed: bool) -> str:
    """A miss stands out; its spread does not."""
    middle, space, spread = text.partition(" (")
    return f"**{middle}**{space}{spread}" if missed else text


def cell(text: str) -> str:
    """Text of others in a cell of a table: what would end the cell, or begin HTML, does not."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
