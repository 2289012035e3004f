"""The generated parts of docs/configuration.md: the table of settings and the table of exit codes.

``python -m sardonyx_server.cli.reference docs/configuration.md`` writes them anew between their markers; a test proves
that what is committed is current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sardonyx_server.cli.exits import meanings
from sardonyx_server.cli.flags import SETTINGS

__all__ = ["exit_codes_table", "refreshed", "settings_reference"]


def settings_reference() -> str:
    """Every setting as a row of a Markdown table."""
    lines = ["| Flag | Variable | Key in the file | Value | Default | What it does |", "|---|---|---|---|---|---|"]
    for name, setting in SETTINGS.items():
        flags = ", ".join(f"`{flag}`" for flag in setting.flags)
        default = setting.show(setting.default)
        cells = (
            flags,
            f"`{setting.variable}`",
            f"`{name}`",
            _escaped(setting.allowed),
            f"`{default}`" if default else "",
            _escaped(setting.doc),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def exit_codes_table() -> str:
    """Every exit code as a row of a Markdown table."""
    lines = ["| Code | Meaning |", "|---|---|"]
    lines += [f"| {code} | {_escaped(meaning)} |" for code, meaning in meanings().items()]
    return "\n".join(lines)


def refreshed(document: str) -> str:
    """``document`` with the text between each pair of markers made anew."""
    for name, text in (("settings", settings_reference()), ("exit codes", exit_codes_table())):
        begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        before, found, rest = document.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"expected the markers {begin} and {end}, in this order")
        document = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return document


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(refreshed(file.read_text(encoding="utf-8")), encoding="utf-8")
