"""Builds SVG elements, escaped by the standard library's XML writer."""

from __future__ import annotations

from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement, tostring

__all__ = ["Element", "add", "markup", "root"]

Value: TypeAlias = str | float


def root(width: float, height: float, **attributes: Value) -> Element:
    """A drawing of so many units; how large it is on the page is for the page to say."""
    return Element("svg", _written({"viewBox": f"0 0 {width:g} {height:g}", **attributes}))


def add(parent: Element, tag: str, text: str = "", /, **attributes: Value) -> Element:
    """Add a child.

    Args:
        parent: Parent element.
        tag: Its name.
        text: What it holds.
        attributes: ``class_`` is written class, ``text_anchor`` text-anchor; numbers with two decimals at most.
    """
    child = SubElement(parent, tag, _written(attributes))
    child.text = text or None
    return child


def markup(element: Element) -> str:
    """The text of it, to be put into a page as it is."""
    return tostring(element, encoding="unicode")


def _written(attributes: dict[str, Value]) -> dict[str, str]:
    return {
        name if name == "viewBox" else name.rstrip("_").replace("_", "-"): value
        if isinstance(value, str)
        else f"{value:.2f}".rstrip("0").rstrip(".")
        for name, value in attributes.items()
    }
