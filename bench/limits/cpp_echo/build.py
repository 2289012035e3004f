"""Builds the C++ echo with the gRPC of the system, and starts it. Measures nothing.

python -m bench.limits.cpp_echo.build      # says where it is, or what to install
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.control import ROOT, Child, program

__all__ = ["CppEchoMissing", "build", "cpp_echo"]

_SOURCE: Final = Path(__file__).with_name("echo.cc")
_BUILT: Final = ROOT / "build" / "cpp-echo"
_INSTALL: Final = "on Debian: apt-get install g++ pkg-config libgrpc++-dev"
_FLAGS: Final = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror")
_REASON_LINES: Final = 5


class CppEchoMissing(RuntimeError):
    """The C++ echo cannot be built here. Says what to install."""


def build(source: Path = _SOURCE, folder: Path = _BUILT) -> Path:
    """Compile it, unless this source has been compiled before. Takes some seconds.

    Args:
        source: One file.
        folder: Where programs are kept, each under the hash of its source and flags.

    Returns:
        The program.

    Raises:
        CppEchoMissing: No compiler, no gRPC for C++, or one that does not take the source.
    """
    compiler, pkg_config = _tool("g++"), _tool("pkg-config")
    found = subprocess.run([pkg_config, "--cflags", "--libs", "grpc++"], capture_output=True, text=True, check=False)  # noqa: S603  # found on PATH
    if found.returncode:
        raise CppEchoMissing(f"the C++ echo needs gRPC for C++, which pkg-config does not know ({_INSTALL})")
    flags = [*_FLAGS, *shlex.split(found.stdout)]
    name = hashlib.sha256(" ".join(flags).encode() + source.read_bytes()).hexdigest()[:16]
    program_file = folder / name
    if not program_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{name}.unfinished"
        command = [compiler, str(source), "-o", str(unfinished), *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # the compiler
        if done.returncode:
            said = " ".join(done.stderr.splitlines()[:_REASON_LINES])
            raise CppEchoMissing(f"the C++ echo does not compile here: {said}")
        unfinished.rename(program_file)
    return program_file


@contextmanager
def cpp_echo(*, answer_bytes: int | None, threads: int) -> Iterator[Child]:
    """The echo, up; stopped at the end.

    Args:
        answer_bytes: It answers with so many fixed bytes; None = with the message itself.
        threads: Polling threads, each with its own completion queue.

    Raises:
        CppEchoMissing: The echo cannot be built here.
        ChildFailed: It did not start.
    """
    arguments = ["--threads", str(threads)]
    arguments += [] if answer_bytes is None else ["--answer-bytes", str(answer_bytes)]
    with program([str(build()), *arguments], "the C++ echo") as process:
        yield process


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CppEchoMissing(f"the C++ echo needs {name}, which is not installed ({_INSTALL})")
    return found


def main() -> int:
    """Build it.

    Returns:
        Exit status: 1 where it cannot be built.
    """
    try:
        print(build())
    except CppEchoMissing as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
