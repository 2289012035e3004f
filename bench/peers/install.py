"""Environments of the peers: each server in one of its own, from the package index. Starts no server.

    python -m bench.peers.install                  # all
    python -m bench.peers.install triton mlserver

They lie in build/peers/NAME and hold what bench/peers/NAME/requirements.txt pins. One that is complete is left alone.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.control import ROOT
from bench.peers.catalogue import PEERS

__all__ = ["ENVIRONMENTS", "PeerMissing", "install", "interpreter", "is_complete", "scripts"]

ENVIRONMENTS: Final = ROOT / "build" / "peers"
_STAMP: Final = ".installed"
_PIP: Final = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
_REASON_LINES: Final = 3


class PeerMissing(RuntimeError):
    """A peer could not be installed. Says why, in pip's words."""


def install(name: str) -> Path:
    """Make a peer's environment, unless it is complete. Fetches packages; blocks for a minute or so.

    Args:
        name: Name of the peer.

    Returns:
        The environment's interpreter.

    Raises:
        PeerMissing: pip says no.
    """
    environment, requirements = ENVIRONMENTS / name, scripts(name) / "requirements.txt"
    if is_complete(environment, requirements):
        return interpreter(name)
    shutil.rmtree(environment, ignore_errors=True)
    _run(name, [sys.executable, "-m", "venv", str(environment)])
    _run(name, [str(interpreter(name)), *_PIP, "--requirement", str(requirements)])
    _AFTERWARDS.get(name, _nothing)(environment)
    (environment / _STAMP).write_bytes(requirements.read_bytes())
    return interpreter(name)


def interpreter(name: str) -> Path:
    """Python interpreter of a peer's environment, which may not exist yet."""
    return ENVIRONMENTS / name / "bin" / "python"


def scripts(name: str) -> Path:
    """Folder of a peer's requirements and server script; a module's name has no hyphen."""
    return ROOT / "bench" / "peers" / name.replace("-", "_")


def is_complete(environment: Path, requirements: Path) -> bool:
    """Whether an environment was installed to its end from these very requirements."""
    with suppress(OSError):
        return (environment / _STAMP).read_bytes() == requirements.read_bytes()
    return False


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # pip and venv
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise PeerMissing(f"{name} cannot be installed: {' '.join(said[-_REASON_LINES:])}")


def _nothing(_environment: Path) -> None:
    """Most peers are complete once pip has run."""


def _triton(environment: Path) -> None:
    """The Python backend looks for the stub of this interpreter's version beside itself; the wheel has one for each."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (server,) = environment.glob("lib/python3.*/site-packages/pytriton/tritonserver")
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise PeerMissing(f"triton cannot be installed: nvidia-pytriton has no stub for Python {version}")
    shutil.copy(stub, server / "backends" / "python")


_AFTERWARDS: Final[dict[str, Callable[[Path], None]]] = {"triton": _triton}


def main() -> int:
    """Install what the command line names.

    Returns:
        Exit status: 1 where one of them could not be.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.peers.install", description=__doc__)
    parser.add_argument("names", nargs="*", choices=PEERS, metavar="NAME", help=f"of {', '.join(PEERS)}; default: all")
    failed = 0
    for name in parser.parse_args().names or PEERS:
        try:
            print(f"{name}: {install(name).relative_to(ROOT)}", flush=True)
        except PeerMissing as error:
            print(f"{name}: {error}", flush=True)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
