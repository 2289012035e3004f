"""Names of metrics in PromQL, by its grammar as far as the documents use it."""

from __future__ import annotations

import re

__all__ = ["metric_names", "with_values"]

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT = re.compile(r"#[^\n]*")
_SELECTOR = re.compile(r"\{[^{}]*\}")
_RANGE = re.compile(r"\[[^\[\]]*\]")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_NAME = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*\b(?!\s*\()")
_OPERATORS = {"and", "or", "unless", "bool", "offset"}
# What Grafana puts in place of its variables.
_VALUES = {"$__rate_interval": "1m", "$instance": ".*", "$model": ".*"}


def metric_names(query: str) -> set[str]:
    """Names of the series that a query reads."""
    for part in (_STRING, _COMMENT, _SELECTOR, _RANGE, _LABELS):
        query = part.sub(" ", query)
    return set(_NAME.findall(query)) - _OPERATORS


def with_values(query: str) -> str:
    """A query of the dashboard as Grafana sends it."""
    for variable, value in _VALUES.items():
        query = query.replace(variable, value)
    assert "$" not in query, query
    return query
