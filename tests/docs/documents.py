"""The project's documents, and what tests take out of them: code blocks, links, names. Runs nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "BENCH",
    "DOCS",
    "DOCUMENTS",
    "README",
    "ROOT",
    "Block",
    "anchors",
    "blocks",
    "code_spans",
    "links",
    "section",
]

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = tuple(sorted((ROOT / "docs").glob("*.md")))
# CHANGELOG and model cards, too: a link that leads nowhere is as bad there.
DOCUMENTS = (
    README,
    ROOT / "CHANGELOG.md",
    *DOCS,
    *sorted((ROOT / "models").rglob("*.md")),
)

# How it is measured: flags of many programs, and links like any other.
BENCH = tuple(sorted((ROOT / "bench").rglob("README.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a document.

    Attributes:
        language: What stands behind the opening fence.
        text: What is between the fences.
    """

    language: str
    text: str


def blocks(document: Path, language: str = "") -> list[Block]:
    """Fenced blocks in order; of one language where it is given."""
    found = [Block(language=match[1], text=match[2]) for match in _FENCE.finditer(document.read_text("utf-8"))]
    return [block for block in found if language in ("", block.language)]


def links(document: Path) -> list[str]:
    """Targets of the links that lead into the project: relative paths, with their anchors."""
    text = _FENCE.sub("", document.read_text("utf-8"))
    return [target for target in _LINK.findall(text) if "://" not in target]


def anchors(document: Path) -> set[str]:
    """Names by which the headings of a document can be linked to."""
    headings = _HEADING.findall(_FENCE.sub("", document.read_text("utf-8")))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(document: Path, heading: str) -> str:
    """Text of one section of the second level, without its heading."""
    return document.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def code_spans(text: str) -> list[str]:
    """What stands between single backticks, outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
