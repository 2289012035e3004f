"""The README's examples, run as they stand, and its tables held against the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer

from sardonyx_server.app import App
from sardonyx_server.cli import main
from sardonyx_server.cli.commands import app
from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.config import parse_config
from sardonyx_server.settings import Settings
from tests.docs.documents import BENCH, DOCS, DOCUMENTS, README, ROOT, anchors, blocks, code_spans, links, section

_DEFAULT_ADDRESS = "127.0.0.1:8001"
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]+")
# Flags of other programs: npm, protoc and its plugins, h2load, make conformance, the bench, and the script that trains
# the sample models.
_FLAGS_OF_OTHERS = {
    "--cpus",
    "--es_opt",
    "--es_out",
    "--go-grpc_opt",
    "--go_opt",
    "--grpc_python_out",
    "--no-cache-dir",
    "--no-install",
    "--no-package-lock",
    "--models",
    "--only",
    "--out",
    "--plugin",
    "--python_out",
    "--quick",
    "--read-only",
    "--rm",
    "--rps",
    "--seconds",
    "--turns",
}
# Messages that are put together, or are grpc's own; test_each_message_of_the_troubleshooting_table covers the rest.
_MADE_OF_PARTS = {
    "is a sequence of maps",
    "is a sequence of tensors",
    "ModelConfig has no field",
    "expected FP32 [-1,4], got FP64 [1,4]",
    "larger than max",
}


def commands() -> dict[str, Any]:
    """The verbs of the command."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def sardonyx_flags() -> set[str]:
    """Every flag of every verb of the command."""
    verbs = [verb for name in commands().values() for verb in (name, *getattr(name, "commands", {}).values())]
    return {spelling for verb in verbs for parameter in verb.params for spelling in parameter.opts} | {"--help"}


def test_the_client_runs_and_prints_what_the_readme_says(address: str) -> None:
    """The first Python block, with nothing changed but the port, in a process of its own."""
    client = blocks(README, "python")[0].text
    assert _DEFAULT_ADDRESS in client
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", client.replace(_DEFAULT_ADDRESS, address)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.stdout, done.stderr) == (blocks(README, "text")[0].text, "")


def test_a_model_as_skl2onnx_exports_it_is_served(tmp_path: Path) -> None:
    """Three blocks of the README: what trains and exports, what serves, and what asks; only the port is another."""
    _, train, ask = blocks(README, "python")
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    trained = run([sys.executable, "-c", train.text])
    assert (trained.returncode, trained.stdout) == (0, ""), trained.stderr
    (serve,) = (block.text.split() for block in blocks(README, "sh") if "flowers" in block.text)
    assert serve == ["sardonyx", "serve", "flowers.onnx"]
    settings = {"model_repository": (tmp_path / serve[-1],), "grpc_port": 0, "metrics_port": None}
    app = App(Settings.model_validate(settings))
    app.start()
    try:
        asked = run([sys.executable, "-W", "error", "-c", ask.text.replace(_DEFAULT_ADDRESS, app.address)])
    finally:
        assert app.drain_and_stop(5.0)
    assert (asked.stdout, asked.stderr) == (blocks(README, "text")[1].text, "")


def test_the_client_has_ten_lines() -> None:
    """Lines that are empty do not count."""
    assert len([line for line in blocks(README, "python")[0].text.splitlines() if line]) <= 10


def test_the_command_prints_what_the_readme_says(address: str) -> None:
    """The block shows a command line and its output."""
    command, _, output = blocks(README, "console")[0].text.partition("\n")
    words = shlex.split(command.removeprefix("$ "))
    assert words[0].endswith("/sardonyx")
    done = subprocess.run(
        [sys.executable, "-m", "sardonyx_server.cli", *words[1:]],
        env={**os.environ, "SARDONYX_URL": address},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.stdout, done.stderr) == (output, "")


def test_the_javascript_is_in_the_example() -> None:
    """The README shows a part of the file, letter for letter."""
    example = (ROOT / "docs/examples/node/client.js").read_text("utf-8")
    assert blocks(README, "js")[0].text in example


def test_the_config_is_one() -> None:
    """The example of config.pbtxt parses."""
    config = parse_config(blocks(README, "proto")[0].text, "iris")
    assert config.dynamic_batching.max_queue_delay_microseconds == 500


@pytest.mark.parametrize("document", [*DOCUMENTS, *BENCH], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    """Relative links name files or folders that exist, and headings that exist in them."""
    for target in links(document):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{document.name}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_flag_exists(document: Path) -> None:
    """Whatever looks like a flag is one of `sardonyx`, or is listed here as another program's."""
    named = set(_FLAG.findall(document.read_text("utf-8")))
    assert named <= sardonyx_flags() | _FLAGS_OF_OTHERS


def test_every_verb_exists() -> None:
    """`sardonyx X` in the README is a verb; `make X` is a target."""
    text = README.read_text("utf-8")
    assert set(re.findall(r"(?:^|`|/)sardonyx ([a-z]+)", text, re.MULTILINE)) <= set(commands())
    targets = set(re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= {target for line in targets for target in line.split()}


def test_every_default_in_the_table_is_the_default() -> None:
    """The README's short table against the generated one, which has its own test."""
    generated = (ROOT / "docs/configuration.md").read_text("utf-8")
    known = dict(re.findall(r"^\| `(--[a-z-]+)`.*? \| `?([^`|]*?)`? \| [^|]+ \|$", generated, re.MULTILINE))
    shown = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([^`|]+?)`? \|", section(README, "Configuration"), re.MULTILINE))
    assert len(shown) >= 12
    assert {flag: known.get(flag) for flag in shown} == shown


@pytest.mark.parametrize("document", [*DOCUMENTS, *BENCH], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_section_stands_twice(document: Path) -> None:
    """Two branches that move one have it twice when they meet, and what is generated into it is only made anew once."""
    headings = re.findall(r"^## .+$", document.read_text("utf-8"), re.MULTILINE)
    assert len(headings) == len(set(headings))


@pytest.mark.parametrize("document", [README, *DOCS], ids=lambda path: path.name)
def test_every_source_file_that_is_named_exists(document: Path) -> None:
    """`rpc/lane.py` and the like, relative to the document, to the root, or to one of the packages."""
    bases = [document.parent, *(ROOT / base for base in (".", "server/sardonyx_server", "protos", "client"))]
    for name in re.findall(r"(?<![\w/.=-])\w+/[\w/]+\.(?:py|proto|binpb|pyi)\b", document.read_text("utf-8")):
        assert any((base / name).exists() for base in bases), f"{document.name}: {name}"


def test_each_message_of_the_troubleshooting_table_is_in_the_code() -> None:
    """So that searching for a message finds it, and a message that is reworded is reworded here."""
    table = section(README, "When something goes wrong")
    messages = [code_spans(line.split("|")[1])[0] for line in table.splitlines() if line.startswith("| `")]
    assert len(messages) > 15
    sources = "\n".join(
        path.read_text("utf-8") for folder in ("server", "client", "protos") for path in (ROOT / folder).rglob("*.py")
    )
    assert [message for message in messages if message not in sources and message not in _MADE_OF_PARTS] == []
    assert set(messages) >= _MADE_OF_PARTS


def test_an_unknown_field_of_a_config_is_named() -> None:
    """A message of the table that is put together."""
    with pytest.raises(LoadFailed, match=r"ModelConfig has no field 'max_batchsize'; did you mean 'max_batch_size'\?"):
        parse_config("max_batchsize: 8", "iris")


def test_the_entry_point_is_the_one_the_readme_names() -> None:
    """`sardonyx` is what the distribution installs."""
    assert 'sardonyx = "sardonyx_server.cli:main"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert callable(main)
