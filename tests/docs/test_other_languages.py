"""The worked examples of calling with generated code: what the document says, done, against a running server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import ROOT

DOCUMENT = ROOT / "docs/other-languages.md"
NODE = ROOT / "docs/examples/node"
PYTHON = ROOT / "docs/examples/python"
FILES = ("inference/grpc_service.proto", "inference/model_config.proto")
_LIMIT_S = 180


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    """Standard output of a command that must succeed and say nothing on standard error."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def documented(heading: str, language: str) -> str:
    """The one block of a language under a heading of the document."""
    part = DOCUMENT.read_text("utf-8").partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return part.partition(f"```{language}\n")[2].partition("```")[0]


def test_python_stubs_infer(address: str, tmp_path: Path) -> None:
    """Protoc writes the stubs into an empty folder; the client finds nothing else of ours on its path."""
    out = (f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}")
    run(sys.executable, "-m", "grpc_tools.protoc", "-I", ROOT / "protos", *out, *FILES)
    printed = run(sys.executable, PYTHON / "client.py", address, environment={"PYTHONPATH": str(tmp_path)})
    assert printed == documented("Python", "text")


def test_node_stubs_infer(address: str, tmp_path: Path) -> None:
    """Protoc with a plugin written in JavaScript; the client finds the packages where npm put them."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    plugin = NODE / "node_modules/.bin/protoc-gen-es"
    if not plugin.exists():
        pytest.skip("the example's packages are not installed: npm install --no-package-lock in docs/examples/node")
    # A copy: the folder itself may hold code that someone generated from other .proto files.
    for name in ("client.js", "package.json"):
        shutil.copy(NODE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    (tmp_path / "gen").mkdir()
    out = (f"--plugin={plugin}", f"--es_out={tmp_path / 'gen'}", "--es_opt=target=js,import_extension=js")
    run(sys.executable, "-m", "grpc_tools.protoc", "-I", ROOT / "protos", *out, *FILES)
    assert run("node", tmp_path / "client.js", address) == documented("Node", "text")


def test_the_commands_are_those_that_are_tested() -> None:
    """The flags of protoc in the document are those used above."""
    for flag in ("--es_out=gen", "--es_opt=target=js,import_extension=js", *FILES):
        assert flag in documented("Node", "sh")
    for flag in ("--python_out=gen", "--grpc_python_out=gen", *FILES):
        assert flag in documented("Python", "sh")
