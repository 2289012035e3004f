"""The examples of the pages for operators: each runs as it stands and prints what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from sardonyx_server.app import App
from sardonyx_server.settings import Settings
from tests.docs.documents import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_ADDRESS: Final = "127.0.0.1:8001"
_PAGES: Final = ("model-control.md", "shared-memory.md", "statistics.md", "streams.md")
_EXAMPLES: Final = [
    pytest.param(page, number, id=f"{page}-{number}")
    for page in _PAGES
    for number in range(len(blocks(ROOT / "docs" / page, "python")))
]


@pytest.fixture
def own() -> Iterator[str]:
    """Where a server of the example's own listens: with all that the pages switch on, for examples unload models."""
    settings = {
        "model_repository": (ROOT / "models",),
        "model_control_mode": "explicit",
        "load_model": ("*",),
        "allow_client_shm": True,
        "grpc_port": 0,
        "metrics_port": None,
        "probe_budget_s": 0.0,
    }
    app = App(Settings.model_validate(settings))
    app.start()
    yield app.address
    assert app.drain_and_stop(5.0)


@pytest.mark.parametrize(("page", "number"), _EXAMPLES)
def test_the_example_runs(own: str, page: str, number: int) -> None:
    """From the project's folder, with another port and a name in /dev/shm that no other run of the tests has."""
    pytest.importorskip("tritonclient.grpc")
    code = blocks(ROOT / "docs" / page, "python")[number].text
    assert _DEFAULT_ADDRESS in code
    code = code.replace(_DEFAULT_ADDRESS, own).replace("/my_rows", f"/my_rows_{os.getpid()}")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = [block.text for block in blocks(ROOT / "docs" / page, "text")]
    if shown:
        assert done.stdout == shown[number]
