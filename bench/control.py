"""Child processes of the benchmarks, controlled by lines of JSON over their standard streams.

A child prints one line of JSON when it is ready, responds to each line of input with one line of JSON, and stops at the
end of its input. There are no signals, no files, and no extra port. :func:`serve_commands` is the child's side,
:class:`Child` the parent's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = ["ROOT", "Child", "ChildFailed", "child", "end", "program", "send_line", "serve_commands"]

ROOT: Final = Path(__file__).resolve().parent.parent
_STOP_TIMEOUT_S: Final = 20.0
# Before what is installed, and relative to the root.
_SOURCES: Final = ("protos", "client", "server")


class ChildFailed(RuntimeError):
    """A child process did not start, or ended early. Its standard error says why."""


def serve_commands(hello: Mapping[str, object], answer: Callable[[str], Mapping[str, object]]) -> None:
    """Send a greeting, then respond to each line of input until the input ends. Blocks; idle it costs nothing."""
    send_line(hello)
    for line in sys.stdin:
        send_line(answer(line))


def send_line(line: Mapping[str, object]) -> None:
    """Send a line to the parent process."""
    print(json.dumps(line), flush=True)


class Child:
    """A running child process.

    Args:
        process: Started with pipes for its input and output.
        name: Name in error messages.

    Attributes:
        hello: Its greeting, which contains its ``address``.
    """

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process = process
        self._name = name
        self.hello: Mapping[str, Any] = self._read()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Host and port it listens on."""
        return str(self.hello["address"])

    def ask(self, line: str) -> Mapping[str, Any]:
        """Send a line, and return the response. Blocks.

        Raises:
            ChildFailed: The child ended, or responded with a ``problem``.
        """
        if self._process.stdin is None:
            raise ChildFailed(f"{self._name}: started without a pipe for its input (a bug)")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Mapping[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise ChildFailed(f"{self._name}: ended with status {self._process.wait()} before it answered")
        answer: Mapping[str, Any] = json.loads(line)
        if "problem" in answer:
            raise ChildFailed(f"{self._name}: {answer['problem']}")
        return answer


@contextmanager
def child(module: str, arguments: Sequence[str] = (), *, root: Path = ROOT) -> Iterator[Child]:
    """Run ``python -m module arguments`` as a child, and stop it at the end.

    Args:
        module: Module to run.
        arguments: For it.
        root: Root of the copy of the project whose sources are run.

    Raises:
        ChildFailed: It ended before it was ready.
    """
    environment = None if root == ROOT else {**os.environ, "PYTHONPATH": os.pathsep.join(_SOURCES)}
    with program([sys.executable, "-m", module, *arguments], module, folder=root, environment=environment) as process:
        yield process


@contextmanager
def program(
    command: Sequence[str], name: str, *, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Run any program that speaks the same protocol, and stop it at the end.

    Args:
        command: The program and its arguments.
        name: For messages.
        folder: To run it in.
        environment: None = this process's.

    Raises:
        ChildFailed: It ended before it was ready.
    """
    process = subprocess.Popen(  # noqa: S603  # the harness's own
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Child(process, name)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Wait for a process that was told to stop; kill it after a timeout. Blocks."""
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
