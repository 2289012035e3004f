"""Makes docs/grafana-dashboard.json: ``python -m docs.grafana.dashboard``, from the root.

A dashboard written by hand repeats the same forty lines in each panel. Tests hold the file against this, and each query
against the metrics of a running server.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from docs.grafana.panels import COLUMNS, ROWS, Panel

__all__ = ["FILE", "dashboard", "text"]

FILE: Final = Path(__file__).parents[1] / "grafana-dashboard.json"

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_HEIGHT: Final = 8


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place})
        top += 1
        left = 0
        for panel in row:
            if left + panel.width > COLUMNS:
                left, top = 0, top + _HEIGHT
            place = {"h": _HEIGHT, "w": panel.width, "x": left, "y": top}
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
            left += panel.width
        top += _HEIGHT
    return {
        "uid": "sardonyx",
        "title": "Sardonyx",
        "description": "Traffic, latency, batching, refusals and the process of Sardonyx servers.",
        "tags": ["inference", "sardonyx"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("instance", "Server", "label_values(sardonyx_build_info, instance)"),
                _variable("model", "Model", "label_values(nv_inference_request_success, model)"),
            ]
        },
        "panels": panels,
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panel(panel: Panel) -> dict[str, Any]:
    now = panel.kind == "table"
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {}
    shown: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "format": query.shape,
                "instant": now,
                "range": not now,
            }
            for index, query in enumerate(panel.queries)
        ],
    }
    if panel.about:
        shown["description"] = panel.about
    return shown


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
