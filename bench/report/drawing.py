"""Renders plots as SVG: line plots and horizontal bar charts. Colours are CSS variables of the page."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from bench.report.axes import NARROW, WIDE, Frame, Size, canvas, x_axis, y_axis
from bench.report.plot import Bars, Dot, Figure, Line, Lines
from bench.report.styles import MARKS, Style
from bench.report.svg import Element, add, markup

__all__ = ["drawings", "key"]

_CROSS: Final = "M-4,-4L4,4M4,-4L-4,4"
_NAME_ROOM: Final = 24.0
_BAR_HEIGHT: Final = 15.0
_BAR_PITCH: Final = 40.0
_KEY_SIZE: Final = 14.0


def drawings(figure: Figure) -> list[str]:
    """The drawings of a figure for wide and narrow screens; empty if it has no plot."""
    if figure.plot is None:
        return []
    return [markup(_drawn(figure, figure.plot, size)) for size in (WIDE, NARROW)]


def key(style: Style, *, mark: bool = True) -> str:
    """The symbol of a style in a legend."""
    half = _KEY_SIZE / 2
    sign = Element("svg", {"viewBox": f"0 0 {_KEY_SIZE:g} {_KEY_SIZE:g}", "class": "key", "aria-hidden": "true"})
    if mark:
        add(sign, "path", d=MARKS[style.mark], transform=f"translate({half:g},{half:g}) scale(1.3)", style=_fill(style))
    else:
        add(sign, "rect", x=1, y=1, width=_KEY_SIZE - 2, height=_KEY_SIZE - 2, rx=2, style=_fill(style))
    return markup(sign)


def _drawn(figure: Figure, plot: Lines | Bars, size: Size) -> Element:
    return _lines(figure, plot, size) if isinstance(plot, Lines) else _bars(figure, plot, size)


def _lines(figure: Figure, plot: Lines, size: Size) -> Element:
    drawing, frame = canvas(figure, size, size.height, left=size.left, top=_NAME_ROOM)
    x_axis(drawing, frame, plot.x, size)
    y_axis(drawing, frame, plot.y)
    for guide in plot.guides:
        y = frame.y(plot.y, guide.y)
        add(drawing, "line", class_="guide", x1=frame.left, x2=frame.right, y1=y, y2=y)
        # Below it and in the middle: what it is a bar of is above it there.
        middle = (frame.left + frame.right) / 2
        add(drawing, "text", guide.label, class_="guide", x=middle, y=y + 13, text_anchor="middle")
    # The last is drawn above the others: it is the one that the page is about.
    for line in plot.lines:
        _line(drawing, frame, plot, line)
    return drawing


def _line(drawing: Element, frame: Frame, plot: Lines, line: Line) -> None:
    group = add(drawing, "g", class_="line", **{"data-name": line.name})
    sound = [dot for dot in line.dots if dot.valid]
    if len(sound) > 1:
        places = (f"{frame.x(plot.x, dot.x):.1f},{frame.y(plot.y, dot.y):.1f}" for dot in sound)
        kind = "stroke dashed" if line.dashed else "stroke"
        add(group, "polyline", class_=kind, points=" ".join(places), style=_stroke(line.style))
    for number, dot in enumerate(line.dots, start=1):
        if line.marks == "all" or not dot.valid or (line.marks == "last" and number == len(line.dots)):
            _mark(group, frame, plot, line, dot)


def _mark(group: Element, frame: Frame, plot: Lines, line: Line, dot: Dot) -> None:
    x = frame.x(plot.x, dot.x)
    place = f"translate({x:.1f},{frame.y(plot.y, dot.y):.1f})"
    if dot.reach:
        low, high = (frame.y(plot.y, end) for end in dot.reach)
        add(group, "line", class_="reach", x1=x, x2=x, y1=low, y2=high, style=_stroke(line.style))
    if not dot.valid:
        mark = add(group, "path", class_="mark invalid", d=_CROSS, transform=place, style=_stroke(line.style))
    elif line.dashed:
        mark = add(
            group, "path", class_="mark hollow", d=MARKS[line.style.mark], transform=place, style=_stroke(line.style)
        )
    else:
        mark = add(group, "path", class_="mark", d=MARKS[line.style.mark], transform=place, style=_fill(line.style))
    if dot.title:
        add(mark, "title", dot.title)


def _bars(figure: Figure, plot: Bars, size: Size) -> Element:
    height = 56 + _BAR_PITCH * len(plot.bars)
    drawing, frame = canvas(figure, size, height, left=8, top=4)
    x_axis(drawing, frame, plot.x, size)
    for number, bar in enumerate(plot.bars):
        top = frame.top + _BAR_PITCH * number
        group = add(drawing, "g", class_="bar" if bar.valid else "bar invalid", **{"data-name": bar.label})
        add(group, "text", bar.label, class_="label", x=frame.left, y=top + 12)
        add(group, "text", bar.reading, class_="reading", x=frame.right, y=top + 12, text_anchor="end")
        ends = [0.0]
        for part in bar.parts:
            ends.append(ends[-1] + part.value)
        for part, (begin, end) in zip(bar.parts, pairwise(ends), strict=True):
            left, right = frame.x(plot.x, begin), frame.x(plot.x, end)
            place = {"x": left, "y": top + 18, "width": max(right - left, 0.5), "height": _BAR_HEIGHT}
            piece = add(group, "rect", class_="part", style=_fill(part.style), **place)
            if part.title:
                add(piece, "title", part.title)
        if bar.limit is not None:
            x = frame.x(plot.x, bar.limit)
            add(group, "line", class_="limit", x1=x, x2=x, y1=top + 15, y2=top + 18 + _BAR_HEIGHT + 3)
    return drawing


def _fill(style: Style) -> str:
    return f"fill:var(--{style.colour})"


def _stroke(style: Style) -> str:
    return f"stroke:var(--{style.colour})"
