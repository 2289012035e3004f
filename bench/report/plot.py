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
    """A scale with what it measures."""

    title: str
    scale: Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A value of a line.

    Attributes:
        x: Along the horizontal axis.
        y: Along the vertical one.
        reach: Lowest and highest of several repeats, of which y is the median; None for one alone.
        title: What is shown where the pointer rests on it.
        valid: False = drawn as a cross of its own, which the line does not touch.
    """

    x: float
    y: float
    reach: tuple[float, float] | None = None
    title: str = ""
    valid: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Values that belong together.

    Attributes:
        name: For the legend; lines of one look share an entry.
        style: Colour and mark.
        dots: In order of x.
        dashed: For the lesser of two lines of one look.
        marks: Which dots get a mark; the last one alone tells curves apart in print.
    """

    name: str
    style: Style
    dots: Sequence[Dot]
    dashed: bool = False
    marks: Literal["all", "last", "none"] = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A horizontal line to compare with: a bar, a floor, a capacity."""

    y: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines over two axes."""

    x: Axis
    y: Axis
    lines: Sequence[Line]
    guides: Sequence[Guide] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a bar, laid behind the piece before it."""

    name: str
    value: float
    style: Style
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A horizontal bar.

    Attributes:
        label: What stands above it.
        parts: From left to right.
        reading: What stands at its end.
        valid: False = hatched.
        limit: Where a mark says how far it may reach; None for none.
    """

    label: str
    parts: Sequence[Part]
    reading: str
    valid: bool = True
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Horizontal bars over one axis, from the top."""

    x: Axis
    bars: Sequence[Bar]


Plot: TypeAlias = Lines | Bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table.

    Attributes:
        cells: As many as the table has columns.
        state: "" for an ordinary one; "invalid", or a verdict.
    """

    cells: Sequence[str]
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Values for those who want digits, or cannot see the plot.

    Attributes:
        head: Titles of the columns.
        rows: In order.
        words: How many columns from the left hold words; the others hold numbers.
    """

    head: Sequence[str]
    rows: Sequence[Row]
    words: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot with all that belongs to it.

    Attributes:
        key: Unique on the page; a valid id.
        title: One line.
        description: The plot in words, for those who do not see it.
        commands: What made it.
        plot: None where a table says it better.
        table: Its values.
        legend: Name and look of what is drawn, once for each look.
        notes: What the reader must know; invalid points among it.
        remarks: Settings and method, for those who look closer.
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
    """A part of the page.

    Attributes:
        key: Unique on the page; a valid id.
        title: One line.
        about: How to read its figures.
        figures: One for each model, as a rule.
        missing: What was not run, and which command runs it; "" where it was.
    """

    key: str
    title: str
    about: str
    figures: Sequence[Figure] = ()
    missing: str = ""
