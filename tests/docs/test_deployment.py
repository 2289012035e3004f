"""The page on services: its command lines are ones that the command takes, and its limits fit each other."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from sardonyx_server.cli.entry import run
from tests.docs.documents import ROOT, blocks

_PAGE = ROOT / "docs/deployment.md"


def _unit() -> dict[str, str]:
    """The keys of the unit for systemd; none that is read here comes twice."""
    (unit,) = blocks(_PAGE, "ini")
    return dict(re.findall(r"^(\w+)=(.*)$", unit.text, re.MULTILINE))


def _entry_point() -> list[str]:
    """What a container starts, with what Kubernetes adds."""
    (file,) = blocks(_PAGE, "dockerfile")
    (pod,) = blocks(_PAGE, "yaml")
    (started,) = re.findall(r"^ENTRYPOINT (.*)$", file.text, re.MULTILINE)
    (added,) = re.findall(r"^ *args: (.*)$", pod.text, re.MULTILINE)
    return [*json.loads(started), *json.loads(added)]


@pytest.mark.parametrize("words", [shlex.split(_unit()["ExecStart"]), _entry_point()], ids=["systemd", "container"])
def test_the_command_lines_are_understood(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every flag exists and takes its value."""
    program, *arguments = words
    assert program.endswith("sardonyx")
    assert run([*arguments, "--show-settings"]) == 0
    assert re.search(r"exit_timeout_secs\W+20", capsys.readouterr().out)


def test_nothing_is_killed_before_the_server_gives_up() -> None:
    """Whoever stops it waits longer than it waits for its requests, the pause before included."""
    (pod,) = blocks(_PAGE, "yaml")
    (grace_s,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", pod.text)
    (pause_s,) = re.findall(r"seconds: (\d+)", pod.text)
    assert int(_unit()["TimeoutStopSec"]) > 20
    assert int(grace_s) > 20 + int(pause_s)
