"""What the packaging tests share: the built distribution, and fresh environments to install it into.

Versions are held to requirements/dev.lock, so that a release of somebody else's package cannot turn a test red.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL_LIMIT_S = 300  # a slow network and a cold cache; measured 4 s for the client, 8 s for the server


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The two files that `python -m build` makes."""

    wheel: Path
    sdist: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A fresh virtual environment without anything of this project's own."""

    folder: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the environment, such as ``python``, in its folder, where no source of ours lies."""
        return _run([str(self.folder / "bin" / command[0]), *command[1:]], folder=self.folder)

    def pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the tests' own pip on the environment: one with a pip of its own takes seconds longer to make."""
        return _run([sys.executable, "-m", "pip", "--python", str(self.folder), *arguments], folder=self.folder)


def _run(command: list[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    surroundings = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
    )


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """Source archive, and the wheel built from it: so the archive is known to hold all that a build needs."""
    folder = tmp_path_factory.mktemp("dist")
    built = _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)], folder=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return Distribution(wheel=next(folder.glob("*.whl")), sdist=next(folder.glob("*.tar.gz")))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, distribution: Distribution) -> Callable[..., Environment]:
    """Function: extras and further requirements -> a fresh environment with the wheel and them, made once for each."""
    constraints = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    locked = (ROOT / "requirements" / "dev.lock").read_text("utf-8")
    constraints.write_text("\n".join(re.findall(r"^[a-z0-9][^\\\n]+", locked, re.MULTILINE)), "utf-8")
    made: dict[tuple[str, ...], Environment] = {}

    def install(extras: str = "", *others: str) -> Environment:
        if (extras, *others) not in made:
            environment = Environment(folder=tmp_path_factory.mktemp("environment"))
            venv.create(environment.folder, symlinks=True)
            wanted = (f"{distribution.wheel}{extras}", *others)
            done = environment.pip("install", "--quiet", "--no-compile", "--constraint", str(constraints), *wanted)
            assert done.returncode == 0, done.stdout + done.stderr
            made[extras, *others] = environment
        return made[extras, *others]

    return install
