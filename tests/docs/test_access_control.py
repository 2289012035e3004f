"""The examples of access control run as the pages show them: tokens are made, sent, and good for what they say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sardonyx_server.app import App
from sardonyx_server.cli.entry import run
from sardonyx_server.settings import Settings
from tests.docs.documents import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = ROOT / "docs/access-control.md"
_SERVICE_PAGE = ROOT / "docs/deployment.md"


def _scripts() -> tuple[str, str, str]:
    """The blocks of the page: tokens and a server, a call, a server with restricted protocols."""
    making, calling, restricting = (block.text for block in blocks(_PAGE, "sh"))
    return making, calling, restricting


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """The file that the first example makes."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    making, serving = _scripts()[0].rsplit("sardonyx serve", 1)
    assert serving == " models --auth-tokens-file tokens\n"
    subprocess.run(["/bin/sh", "-ec", making], cwd=tmp_path, check=True)
    return tmp_path / "tokens"


@pytest.fixture
def address(tokens: Path) -> Iterator[str]:
    """Of a server with that file."""
    settings = {
        "model_repository": (ROOT / "models",),
        "auth_tokens_file": tokens,
        "grpc_port": 0,
        "metrics_port": None,
        "probe_budget_s": 0.0,
    }
    app = App(Settings.model_validate(settings))
    app.start()
    yield app.address
    assert app.drain_and_stop(5.0)


def _typed(script: str, folder: Path, address: str) -> subprocess.CompletedProcess[str]:
    """Run it where the file is, as if the server had the default port."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "SARDONYX_URL": address, "PATH": path}
    variables.pop("SARDONYX_TOKEN", None)
    return subprocess.run(
        ["/bin/sh", "-ec", script], cwd=folder, env=variables, capture_output=True, text=True, timeout=180, check=False
    )


def test_the_tokens_are_ones_and_the_call_is_answered(tokens: Path, address: str) -> None:
    """With the second one, which may infer; nobody else may read the file."""
    assert tokens.stat().st_mode & 0o077 == 0
    done = _typed(_scripts()[1], tokens.parent, address)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("label  INT64 [1]  [0]\n")


def test_the_page_on_services_shows_what_is_printed(tokens: Path, address: str) -> None:
    """Without a token the refusal, with it the answer. It makes the same tokens."""
    assert _scripts()[0] in [block.text for block in blocks(_SERVICE_PAGE, "sh")]
    (shown,) = blocks(_SERVICE_PAGE, "console")
    lines = shown.text.splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    done = _typed("\n".join([f"{commands[0]} 2>&1 || true", *commands[1:]]), tokens.parent, address)
    printed = done.stdout.replace(address, "127.0.0.1:8001").splitlines()
    assert printed == [line for line in lines if not line.startswith("$ ")]


def test_the_flags_of_a_start_script_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the last example; the value is not shown."""
    words = _scripts()[2].replace("\\\n", " ").replace("'", "").split()
    assert words[0] == "sardonyx"
    assert run([*words[1:], "--show-settings", "--json"]) == 0
    assert "model-repository,shared-memory,trace,logging:admin-key=..." in capsys.readouterr().out
