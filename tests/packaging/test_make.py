"""The verbs of the Makefile: what each would do, read from make's own dry run. Installs and starts nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERBS = {
    *("serve", "test", "check", "models", "protos", "clean", "help", "lock", "format"),
    *("bench-core", "bench-features", "bench-client", "conformance"),
    *("bench-gate", "bench-micro"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What make reads, copied, with no environment."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs make without the variables that a make around these tests sets."""
    command = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "-u", "MFLAGS", "-u", "ARGS", "make", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def stamp(folder: Path) -> None:
    """Marks the environment as installed."""
    (folder / ".venv").mkdir()
    (folder / ".venv" / ".serve-stamp").touch()


def test_make_alone_lists_every_verb(folder: Path) -> None:
    """One line for each, and nothing is done."""
    listed = re.findall(r"^  make ([a-z-]+) +\S", make(folder).stdout, re.MULTILINE)
    assert set(listed) >= VERBS
    assert not (folder / ".venv").exists()


def test_the_first_start_installs_the_locked_files_and_no_more(folder: Path) -> None:
    """With hashes, from serve.lock, then the project without dependencies."""
    plan = make(folder, "--dry-run", "serve").stdout
    assert "--no-deps --require-hashes --requirement requirements/serve.lock" in plan
    assert "--no-deps --no-build-isolation --editable ." in plan
    assert "dev.lock" not in plan


def test_a_second_start_installs_nothing(folder: Path) -> None:
    """The stamp is newer than the lock file: make goes straight to the server."""
    stamp(folder)
    assert make(folder, "--dry-run", "serve").stdout == "exec .venv/bin/sardonyx serve models/ \n"


def test_a_dry_run_of_the_tests_runs_none(folder: Path) -> None:
    """It names the three runs."""
    (folder / ".venv").mkdir()
    plan = make(folder, "--dry-run", "test")
    assert plan.returncode == 0
    assert plan.stdout.count("-m pytest") == 3


def test_a_changed_lock_installs_again(folder: Path) -> None:
    """An environment follows its lock file."""
    stamp(folder)
    lock = folder / "requirements" / "serve.lock"
    done = make(folder, "--dry-run", f"--what-if={lock.relative_to(folder)}", "serve")
    assert "--require-hashes" in done.stdout


def test_flags_reach_the_server(folder: Path) -> None:
    """ARGS is handed over as it is."""
    stamp(folder)
    plan = make(folder, "--dry-run", "serve", "ARGS=--grpc-port 9001").stdout
    assert plan == "exec .venv/bin/sardonyx serve models/ --grpc-port 9001\n"


def test_a_machine_without_python_gets_one_clear_line(folder: Path) -> None:
    """Says what is missing and how to name one that make does not find."""
    done = make(folder, "serve", "PYTHON=")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "sardonyx needs Python 3.11 or newer and found none; install it, or name it: make PYTHON=/path/to/python3"
    )
