"""Builds SVG elements, escaped by the standard library's XML writer."""

from __future__ import annotations

from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement, tostring

__all__ = ["Element", "add", "markup", "root"]

Value: TypeAlias = str | float


def root(width: float, height: float, **attributes: Value) -> Element:
    """The root element, with a size in user units; the page determines the size on screen."""
    return Element("svg", _written({"viewBox": f"0 0 {width:g} {height:g}", **attributes}))


def add(parent: Element, tag: str, text: str = "", /, **attributes: Value) -> Element:
    """Add a child.

    Args:
        parent: Parent element.
        tag: Its name.
        text: Text content.
        attributes: ``class_`` is written class, ``text_anchor`` text-anchor; numbers with two decimals at most.
    """
    child = SubElement(parent, tag, _written(attributes))
    child.text = text or None
    return child


def markup(element: Element) -> str:
    """The element as markup."""
    return tostring(element, encoding="unicode")


def _written(attributes: dict[str, Value]) -> dict[str, str]:
    return {
        name if name == "viewBox" else name.rstrip("_").replace("_", "-"): value
        if isinstance(value, str)
        else f"{value:.2f}".rstrip("0").rstrip(".")
        for name, value in attributes.items()
    }
