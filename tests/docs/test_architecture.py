"""Lists of files are whole: those in the packages' docstrings, and the names in docs/architecture.md."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.docs.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURE: Final = ROOT / "docs/architecture.md"
SERVER: Final = ROOT / "server/sardonyx_server"
CLIENT: Final = ROOT / "client/sardonyx_client"
PACKAGES: Final = (
    SERVER,
    *(SERVER / name for name in ("cli", "engine", "load", "observe", "repository", "rpc", "runtime")),
    *(path.parent for path in sorted(SERVER.glob("*/*/**/__init__.py"))),
    *(path.parent for path in sorted(CLIENT.glob("_*/__init__.py"))),
    ROOT / "protos/sardonyx_wire",
    ROOT / "protos/sardonyx_wire/http2",
)


def modules(package: Path) -> set[str]:
    """Names of its files, and of the packages in it as ``name/``."""
    packages = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    return {path.name for path in package.glob("*.py")} - {"__init__.py"} | packages


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_a_package_lists_its_files(package: Path) -> None:
    """All of them, packages too, and none that is not there: add a line to its __init__.py with each new file."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    assert set(re.findall(r"^ *(\w+(?:\.py|/)) ", docstring, re.MULTILINE)) == modules(package)


def test_the_page_lists_the_files_of_the_client() -> None:
    """Its docstring is for those who call it."""
    assert modules(CLIENT) <= set(re.findall(r"\w+(?:\.py|/)", ARCHITECTURE.read_text("utf-8")))


def test_the_files_on_the_page_are_there() -> None:
    """Those without their folder; test_readme.py looks after the others."""
    there = {path.name for place in (SERVER, CLIENT, ROOT / "protos") for path in place.rglob("*.py")}
    assert set(re.findall(r"(?<![\w/])\w+\.py", ARCHITECTURE.read_text("utf-8"))) <= there
