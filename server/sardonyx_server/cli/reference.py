"""The generated parts of the documentation: settings and exit codes in configuration.md, metrics in metrics.md.

``python -m sardonyx_server.cli.reference docs/configuration.md docs/metrics.md`` rewrites the text between their
markers; a test checks that the committed files are current.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sardonyx_server.cli.exit_codes import meanings
from sardonyx_server.cli.flags import SETTINGS
from sardonyx_server.observe import sardonyx_metrics, triton_metrics
from sardonyx_server.observe.metric_family import MetricFamily

__all__ = ["exit_codes_table", "metrics_table", "refreshed", "settings_reference"]


def settings_reference() -> str:
    """Every setting as a row of a Markdown table."""
    lines = ["| Flag | Variable | Key in the file | Value | Default | Description |", "|---|---|---|---|---|---|"]
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


def metrics_table(families: Iterable[MetricFamily[Any]], *labels: str) -> str:
    """Metrics as rows of a Markdown table.

    Args:
        families: In this order.
        *labels: Labels of every metric, besides its own.
    """
    lines = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for family in families:
        named = ", ".join(f"`{label}`" for label in (*labels, *family.labels))
        lines.append(f"| `{family.name}` | {family.kind} | {named} | {_escaped(family.help)}. |")
    return "\n".join(lines)


def refreshed(document: str) -> str:
    """``document`` with the text between each pair of markers regenerated.

    Raises:
        ValueError: It has no markers, or an unpaired one.
    """
    found = [name for name in _PARTS if _begin(name) in document]
    if not found:
        raise ValueError(f"expected markers such as {_begin('settings')}")
    for name in found:
        before, _, rest = document.partition(_begin(name))
        _, closed, after = rest.partition(_end(name))
        if not closed:
            raise ValueError(f"expected {_end(name)} after {_begin(name)}")
        document = f"{before}{_begin(name)}\n\n{_PARTS[name]()}\n\n{_end(name)}{after}"
    return document


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")


def _begin(name: str) -> str:
    return f"<!-- {name}: generated -->"


def _end(name: str) -> str:
    return f"<!-- {name}: end -->"


_PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings_reference,
    "exit codes": exit_codes_table,
    "metrics of Triton": lambda: metrics_table(triton_metrics.VERSION_METRICS, "model", "version"),
    "metrics of Triton's cache": lambda: metrics_table(triton_metrics.CACHE_METRICS, "model", "version"),
    "metrics of Triton's machine": lambda: metrics_table(triton_metrics.SERVER_METRICS),
    "metrics of models": lambda: metrics_table(sardonyx_metrics.VERSION_METRICS, "model", "version"),
    "metrics of the server": lambda: metrics_table(sardonyx_metrics.SERVER_METRICS),
}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        file = Path(argument)
        file.write_text(refreshed(file.read_text(encoding="utf-8")), encoding="utf-8")
