"""The scan result of one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.spec import BrokenModel, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["reason_of", "spec_of"]


def spec_of(path: Path, name: str) -> ModelSpec:
    """The model, which must not be broken."""
    found = scan([path])[name]
    assert isinstance(found, ModelSpec), found
    return found


def reason_of(path: Path, name: str) -> str:
    """Why it is broken, which it must be."""
    found = scan([path])[name]
    assert isinstance(found, BrokenModel), found
    return found.reason
