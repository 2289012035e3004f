"""The page on the client: its examples run, and it names every public method and class."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sardonyx_client
from sardonyx_server.cli.entry import run
from tests.docs.documents import ROOT, blocks

PAGE = ROOT / "docs" / "client.md"
EXAMPLES = [block.text for block in blocks(PAGE, "python")]
_DEFAULT_ADDRESS = "127.0.0.1:8001"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader of the page works: with the package that its command has generated."""
    place = tmp_path_factory.mktemp("reader")
    assert run(["client", "generate", "--repository", str(ROOT / "models"), "--out", str(place / "models_client")]) == 0
    return place


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_each_example_runs(address: str, folder: Path, number: int) -> None:
    """In a process of its own, warnings being errors, with nothing changed but the port; it prints something."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number].replace(_DEFAULT_ADDRESS, address)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout


def test_the_page_names_every_error_and_option() -> None:
    """A new one is not left out."""
    text = PAGE.read_text()
    kinds = [
        name
        for name in sardonyx_client.__all__
        if isinstance(member := getattr(sardonyx_client, name), type) and issubclass(member, Exception)
    ]
    missing = [name for name in [*kinds, "TLS", "Retry", "Hedge", "Coalesce"] if name not in text]
    assert missing == []


def test_the_page_maps_every_method_of_tritonclient() -> None:
    """So that nobody who comes from there has to search."""
    triton = pytest.importorskip("tritonclient.grpc")
    table = PAGE.read_text().partition("## Coming from tritonclient")[2]
    named = set(re.findall(r"\w+", table))
    assert [name for name in dir(triton.InferenceServerClient) if not name.startswith("_") and name not in named] == []
