"""What `make conformance` prints: one line for each thing that was tried, with how it went. Runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LINE", "WHAT", "WIDTH", "Line", "exit_code", "render"]

LINE: Final = "conformance line"
"""Name of the property under which a test records Lines of its own, in place of the one made of its outcome."""

WHAT: Final = "conformance what"
"""Name of the property by which a test with parameters says what it tries this time: each text gets its own line."""

WIDTH: Final = 150
"""Columns that the table takes where no terminal says how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was tried with one client.

    Attributes:
        client: Who, such as ``tritonclient``.
        version: Of the client; "" where it is not there.
        what: What was tried, in words.
        passed: How often it went well: on each transport, with each datatype, ...
        failed: How often it did not.
        skipped: How often it could not be tried.
        reason: Why something failed or was skipped; "" where nothing was.
    """

    client: str
    version: str = ""
    what: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reason: str = ""


def exit_code(lines: Sequence[Line]) -> int:
    """1 where anything failed, or nothing passed at all; else 0. What could not be tried is no failure."""
    return int(any(line.failed for line in lines) or not any(line.passed for line in lines))


def render(lines: Sequence[Line]) -> Table:
    """The table, by client in the order given, and a sum."""
    table = Table(title="Conformance", title_justify="left", show_footer=True, expand=True)
    table.add_column("client", footer="all", min_width=16, ratio=1)
    table.add_column("what was tried", min_width=30, ratio=3)
    for column, color in (("passed", "green"), ("failed", "red"), ("skipped", "yellow")):
        total = sum(getattr(line, column) for line in lines)
        table.add_column(column, footer=str(total), justify="right", style=color, no_wrap=True)
    table.add_column("why not", ratio=3)
    for (client, version), of_client in groupby(lines, key=lambda line: (line.client, line.version)):
        for index, line in enumerate(of_client):
            who = "" if index else f"{client} {version}".strip()
            counts = [str(count) if count else "" for count in (line.passed, line.failed, line.skipped)]
            table.add_row(escape(who), escape(line.what), *counts, escape(line.reason))
        table.add_section()
    return table
