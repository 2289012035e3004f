"""Every peer that is named can be installed and started: its files are there, and its onnxruntime is ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.control import ROOT
from bench.peers.catalogue import PEERS, peers
from bench.peers.install import is_complete, scripts


def _pins(file: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    return dict(line.split("==") for line in lines if line)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_has_a_server_script_and_pinned_requirements(name: str) -> None:
    """With the package itself and onnxruntime among them, each at one version."""
    assert (scripts(name) / "serve.py").is_file()
    assert len(_pins(scripts(name) / "requirements.txt")) >= 2


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_has_the_onnxruntime_that_ours_is_locked_to(name: str) -> None:
    """Another version would be compared as well."""
    locked = re.search(r"^onnxruntime==(\S+)", (ROOT / "requirements" / "dev.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert _pins(scripts(name) / "requirements.txt")["onnxruntime"] == locked[1]


@pytest.mark.parametrize("name", PEERS)
def test_the_readme_tells_of_every_peer(name: str) -> None:
    """Of its settings, and why they are its best."""
    assert peers(2)[name].title in (ROOT / "bench" / "peers" / "README.md").read_text()


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_tried_at_several_settings(name: str) -> None:
    """With other names and other values."""
    settings = peers(4)[name].settings
    assert len({setting.name for setting in settings}) == len(settings) >= 2
    assert all(one.values != other.values for one in settings for other in settings if one is not other)


def test_mlserver_has_a_bar_of_its_own_on_iris() -> None:
    """15 times its throughput."""
    assert peers(2)["mlserver"].least == {"iris": 15.0}


def test_an_environment_is_complete_only_with_the_requirements_it_was_made_of(tmp_path: Path) -> None:
    """Another pin makes it anew, and so does an installation that did not come to its end."""
    environment, requirements = tmp_path / "environment", tmp_path / "requirements.txt"
    environment.mkdir()
    requirements.write_text("server==1\n")
    assert not is_complete(environment, requirements)
    (environment / ".installed").write_text("server==1\n")
    assert is_complete(environment, requirements)
    requirements.write_text("server==2\n")
    assert not is_complete(environment, requirements)
