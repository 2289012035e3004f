"""The page on the client: its examples run, and it names every public method and class."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sardonyx_client
from tests.docs.documents import ROOT, blocks

PAGE = ROOT / "docs" / "client.md"
EXAMPLES = [block.text for block in blocks(PAGE, "python")]
_DEFAULT_ADDRESS = "127.0.0.1:8001"


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_each_example_runs(address: str, number: int) -> None:
    """In a process of its own, warnings being errors, with nothing changed but the port; it prints something."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number].replace(_DEFAULT_ADDRESS, address)],
        capture_output=True,
        text=True,
        timeout=60,
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
