"""Clients and servers of others that are no part of the locked environment: where they lie, and how they get there.

`make conformance` installs them; the tests only look, and skip with a reason. Each lies in a folder of its own that git
ignores.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

__all__ = ["GRPC_JS", "KSERVE", "MLSERVER", "PERF_ANALYZER", "TOOLS", "Tool", "ToolMissing"]

ROOT: Final = Path(__file__).parents[2]
_STAMP: Final = ".installed"
_INSTALL_LIMIT_S: Final = 600


class ToolMissing(Exception):  # no error of ours: a fact about this machine
    """A tool cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A client in an environment of its own.

    Attributes:
        name: As its users know it.
        version: Which one is installed.
        folder: Where it lies, and nothing else does; made by the commands.
        commands: What installs it, run one after the other from the project's root.
    """

    name: str
    version: str
    folder: Path
    commands: tuple[tuple[str | Path, ...], ...]

    @property
    def is_there(self) -> bool:
        """Whether this version is installed."""
        stamp = self.folder / _STAMP
        return stamp.exists() and stamp.read_text("utf-8") == self.version

    def require(self) -> None:
        """Skip the running test where the tool is not installed."""
        if not self.is_there:
            pytest.skip(f"{self.name} {self.version} is not installed: make conformance installs it")

    def install(self) -> None:
        """Install it, unless it is there. Blocks, for minutes perhaps.

        Raises:
            ToolMissing: A command failed, or is not on this machine.
        """
        if self.is_there:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for command in self.commands:
            self._run([str(word) for word in command])
        (self.folder / _STAMP).write_text(self.version, "utf-8")

    def _run(self, command: list[str]) -> None:
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=_INSTALL_LIMIT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolMissing(f"{Path(command[0]).name}: {error}") from error
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            why = next((line for line in reversed(lines) if line.lower().startswith(("error", "npm error"))), lines[-1])
            raise ToolMissing(f"{Path(command[0]).name} ended with status {done.returncode}: {why}")


def _python(folder: Path, version: str, *requirements: str) -> tuple[tuple[str | Path, ...], ...]:
    """What makes a virtual environment with these packages."""
    pip = (folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    return ((sys.executable, "-m", "venv", folder), (*pip, *(each.format(version) for each in requirements)))


_KSERVE: Final = ROOT / ".venv-kserve"
KSERVE: Final = Tool(
    name="kserve",
    version="0.21.0",
    folder=_KSERVE,
    commands=_python(_KSERVE, "0.21.0", "kserve=={}"),
)

_MLSERVER: Final = ROOT / ".venv-mlserver"
MLSERVER: Final = Tool(
    name="MLServer",
    version="1.7.1",
    folder=_MLSERVER,
    commands=_python(_MLSERVER, "1.7.1", "mlserver=={}"),
)

_PERF: Final = ROOT / ".venv-perf-analyzer"
# The program is inside a wheel of tritonclient, the last that runs with glibc 2.36. Two libraries it needs come from a
# wheel of NVIDIA and a package of Debian, which is only unpacked: nothing is installed beside this folder.
PERF_ANALYZER: Final = Tool(
    name="perf_analyzer",
    version="2.45.0",
    folder=_PERF,
    commands=(
        *_python(_PERF, "2.45.0", "--no-deps", "tritonclient=={}", "nvidia-cuda-runtime-cu12==12.9.79"),
        ("sh", "-c", f"cd '{_PERF}' && apt-get download libb64-0d && dpkg -x libb64-0d_*.deb debian"),
    ),
)

_NODE: Final = Path(__file__).parent / "node"
_NODE_PACKAGES: Final = json.loads((_NODE / "package.json").read_text("utf-8"))["dependencies"]
GRPC_JS: Final = Tool(
    name="@grpc/grpc-js",
    version=_NODE_PACKAGES["@grpc/grpc-js"],
    folder=_NODE / "node_modules",
    commands=(("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", _NODE),),
)

TOOLS: Final = (KSERVE, MLSERVER, GRPC_JS, PERF_ANALYZER)
"""All that can be installed."""
