"""Model of a plot: lines or bars, with their values as a table. Pure values; ``drawing.py`` renders them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bench.report.scales import Scale
from bench.report.styles import Style

__all__ = [
    "Axis",
    "Bar",
    "Bars",
    "Dot",
    "Figure",
    "Guide",
    "Line",
    "Lines",
    "Part",
    "Plot",
    "Row",
    "Section",
    "Table",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A scale with its title."""

    title: str
    scale: Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A data point of a line.

    Attributes:
        x: Value on the horizontal axis.
        y: Value on the vertical axis.
        reach: Range of several repeats, of which y is the median; None for a single one.
        title: Tooltip.
        valid: False = drawn as a cross that is not connected to the line.
    """

    x: float
    y: float
    reach: tuple[float, float] | None = None
    title: str = ""
    valid: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series.

    Attributes:
        name: Name in the legend; lines of one style share an entry.
        style: Colour and mark.
        dots: Data points in order of x.
        dashed: For the secondary line of a style.
        marks: Which points have a mark; a mark on the last one distinguishes curves in print.
    """

    name: str
    style: Style
    dots: Sequence[Dot]
    dashed: bool = False
    marks: Literal["all", "last", "none"] = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A horizontal reference line: a bar, a floor, a capacity."""

    y: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A line plot."""

    x: Axis
    y: Axis
    lines: Sequence[Line]
    guides: Sequence[Guide] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A segment of a stacked bar."""

    name: str
    value: float
    style: Style
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A horizontal bar.

    Attributes:
        label: Text above the bar.
        parts: Segments from left to right.
        reading: Text at its end.
        valid: False = hatched.
        limit: Position of a limit mark; None = no mark.
    """

    label: str
    parts: Sequence[Part]
    reading: str
    valid: bool = True
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A horizontal bar chart, from top to bottom."""

    x: Axis
    bars: Sequence[Bar]


Plot: TypeAlias = Lines | Bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table.

    Attributes:
        cells: One for each column.
        state: "" for a normal row; "invalid", or a verdict.
    """

    cells: Sequence[str]
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The values of a plot as a table, also for readers who cannot see the plot.

    Attributes:
        head: Titles of the columns.
        rows: In order.
        words: Number of text columns at the left; the others are numeric.
    """

    head: Sequence[str]
    rows: Sequence[Row]
    words: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot with its title, table, legend and notes.

    Attributes:
        key: Unique on the page; a valid id.
        title: One line.
        description: The plot as text, for readers who cannot see it.
        commands: Commands that produced it.
        plot: None = only a table.
        table: Its values.
        legend: (name, style) of each style.
        notes: Important notes, such as invalid points.
        remarks: Details of settings and method.
    """

    key: str
    title: str
    description: str
    commands: Sequence[str]
    plot: Plot | None
    table: Table
    legend: Sequence[tuple[str, Style]] = ()
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the page.

    Attributes:
        key: Unique on the page; a valid id.
        title: One line.
        about: How to read its figures.
        figures: Usually one for each model.
        missing: Command that runs what was not run; "" if it was.
    """

    key: str
    title: str
    about: str
    figures: Sequence[Figure] = ()
    missing: str = ""
