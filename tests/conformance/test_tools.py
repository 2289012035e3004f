"""Installing clients: what is there is left alone, what cannot be had says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.tools import TOOLS, Tool, ToolMissing


def tool(folder: Path, *commands: tuple[str | Path, ...], version: str = "1.0") -> Tool:
    """One that is quickly made."""
    return Tool(name="tool", version=version, folder=folder, commands=commands)


def test_what_is_installed_is_left_alone(tmp_path: Path) -> None:
    """The commands run once; another version makes the folder anew."""
    folder = tmp_path / "tool"
    log = tmp_path / "log"
    commands = (("mkdir", folder), ("sh", "-c", f"echo ran >> '{log}'"))
    for _ in range(2):
        tool(folder, *commands).install()
    assert log.read_text() == "ran\n"
    (folder / "old").touch()
    newer = tool(folder, *commands, version="2.0")
    assert not newer.is_there
    newer.install()
    assert tool(folder, version="2.0").is_there
    assert not (folder / "old").exists()


def test_what_cannot_be_installed_says_why(tmp_path: Path) -> None:
    """The line that names the error, of all that a command writes."""
    failing = tool(
        tmp_path / "tool", ("sh", "-c", "echo some; echo 'ERROR: no such package' >&2; echo bye >&2; exit 3")
    )
    with pytest.raises(ToolMissing, match=r"^sh ended with status 3: ERROR: no such package$"):
        failing.install()
    assert not failing.is_there


def test_a_command_that_is_not_there_says_so(tmp_path: Path) -> None:
    """A machine without npm, for example."""
    with pytest.raises(ToolMissing, match=r"^no-such-program: .*No such file"):
        tool(tmp_path / "tool", ("no-such-program",)).install()


def test_a_tool_that_is_not_installed_skips_the_test(tmp_path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(pytest.skip.Exception, match=r"^tool 1\.0 is not installed: make conformance installs it"):
        tool(tmp_path / "tool").require()


def test_git_ignores_all_of_them() -> None:
    """Each lies in a folder that the project's .gitignore files name."""
    names = {each.folder.name for each in TOOLS}
    assert all(name.startswith(".venv-") or name == "node_modules" for name in names)
