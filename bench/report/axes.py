"""Sizes of a drawing, its plot area, and its axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.report.plot import Axis, Figure
from bench.report.svg import Element, add, root

__all__ = ["NARROW", "WIDE", "Frame", "Size", "canvas", "x_axis", "y_axis"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A drawing is made in two sizes, so that its letters are legible on a phone and on a desk.

    Attributes:
        name: Class of the drawing; the page's style shows the one that fits.
        width: In user units, about pixels; likewise the others.
        height: Of lines; bars take what they need.
        left: Room for the labels of the vertical axis.
        tick_room: Least distance of two labels of the horizontal axis.
    """

    name: str
    width: float
    height: float
    left: float
    tick_room: float


WIDE: Final = Size(name="wide", width=560, height=330, left=58, tick_room=44)
NARROW: Final = Size(name="narrow", width=328, height=270, left=52, tick_room=38)

_RIGHT: Final = 16.0
_BOTTOM: Final = 44.0
_LETTER: Final = 6.4
"""Width of a letter of an axis, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where values are drawn, in units of the drawing."""

    left: float
    top: float
    right: float
    bottom: float

    def x(self, axis: Axis, value: float) -> float:
        """Position of a value on the horizontal axis."""
        return self.left + axis.scale.at(value) * (self.right - self.left)

    def y(self, axis: Axis, value: float) -> float:
        """Position of a value on the vertical axis."""
        return self.bottom - axis.scale.at(value) * (self.bottom - self.top)


def canvas(figure: Figure, size: Size, height: float, *, left: float, top: float) -> tuple[Element, Frame]:
    """An empty drawing with title and description, and its plot area."""
    names = [f"{figure.key}-{size.name}-{what}" for what in ("title", "description")]
    drawing = root(size.width, height, class_=size.name, role="img", **{"aria-labelledby": " ".join(names)})
    add(drawing, "title", figure.title, id=names[0])
    add(drawing, "desc", figure.description, id=names[1])
    return drawing, Frame(left=left, top=top, right=size.width - _RIGHT, bottom=height - _BOTTOM)


def x_axis(drawing: Element, frame: Frame, axis: Axis, size: Size) -> None:
    """Lines and labels below; a label that would touch its neighbour is left out."""
    group = add(drawing, "g", class_="axis x")
    last = -size.width
    for tick in axis.scale.ticks:
        x = frame.x(axis, tick.value)
        add(group, "line", class_="grid", x1=x, x2=x, y1=frame.top, y2=frame.bottom)
        room = max(size.tick_room * 0.5, len(tick.label) * _LETTER) + 6
        if tick.label and x - last >= room:
            add(group, "text", tick.label, x=x, y=frame.bottom + 18, text_anchor="middle")
            last = x
    middle = (frame.left + frame.right) / 2
    add(group, "text", axis.title, class_="name", x=middle, y=frame.bottom + 37, text_anchor="middle")


def y_axis(drawing: Element, frame: Frame, axis: Axis) -> None:
    """Grid lines and labels at the left; the title of the axis is above them."""
    group = add(drawing, "g", class_="axis y")
    for tick in axis.scale.ticks:
        y = frame.y(axis, tick.value)
        add(group, "line", class_="grid" if tick.label else "grid minor", x1=frame.left, x2=frame.right, y1=y, y2=y)
        if tick.label:
            add(group, "text", tick.label, x=frame.left - 7, y=y + 4, text_anchor="end")
    add(group, "text", axis.title, class_="name", x=4, y=12)
