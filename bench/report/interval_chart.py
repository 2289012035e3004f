"""A small chart beside a verdict: ratio and interval relative to the bar, as in a forest plot. Right is better."""

from __future__ import annotations

import math
from typing import Final

from bench.report.svg import add, markup, root
from bench.report.verdicts import Verdict

__all__ = ["interval_chart"]

_WIDTH: Final = 120.0
_HEIGHT: Final = 14.0
_RADIUS: Final = 3.6
_MOST: Final = 2.0
"""The ends of the scale are this multiple of the bar and its inverse; values beyond are drawn at the end."""


def interval_chart(verdict: Verdict) -> str:
    """SVG; "" if there is no ratio to a bar.

    It is decorative: the table row has the same as text.
    """
    if not verdict.reached or not verdict.bar:
        return ""
    drawing = root(_WIDTH, _HEIGHT, class_="margin", **{"aria-hidden": "true"})
    middle = _HEIGHT / 2
    add(drawing, "line", class_="guide", x1=_WIDTH / 2, x2=_WIDTH / 2, y1=0.0, y2=_HEIGHT)
    if verdict.low and verdict.high:
        ends = sorted(_place(verdict, end) for end in (verdict.low, verdict.high))
        add(drawing, "line", class_="reach", x1=ends[0], x2=ends[1], y1=middle, y2=middle)
    add(drawing, "circle", cx=_place(verdict, verdict.reached), cy=middle, r=_RADIUS)
    return markup(drawing)


def _place(verdict: Verdict, value: float) -> float:
    """Position of a ratio on a logarithmic scale with the bar in the middle."""
    bar = verdict.bar or 1.0
    times = value / bar if verdict.at_least else bar / value
    share = math.log(min(max(times, 1 / _MOST), _MOST)) / math.log(_MOST)
    return _WIDTH / 2 + share * (_WIDTH / 2 - _RADIUS - 1)
