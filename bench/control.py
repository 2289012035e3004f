"""Servers under load in processes of their own, and the few words spoken with them over their standard streams.

A child prints one line of JSON when it is up, answers each line it is sent with one line of JSON, and stops when its
input ends. No signals, no files, no extra port. :func:`obey` is the child's side,
:class:`Child` the harness's.
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

__all__ = ["ROOT", "Child", "ChildFailed", "child", "end", "obey", "program", "say"]

ROOT: Final = Path(__file__).resolve().parent.parent
_STOP_TIMEOUT_S: Final = 20.0
# Before what is installed, and relative to the root.
_SOURCES: Final = ("protos", "client", "server")


class ChildFailed(RuntimeError):
    """A process of the harness did not start, or ended early. What it wrote to standard error says why."""


def obey(hello: Mapping[str, object], answer: Callable[[str], Mapping[str, object]]) -> None:
    """Say hello, then answer each line of input, until the input ends. Blocks; costs nothing idle."""
    say(hello)
    for line in sys.stdin:
        say(answer(line))


def say(words: Mapping[str, object]) -> None:
    """Write a line to the harness."""
    print(json.dumps(words), flush=True)


class Child:
    """A running child.

    Args:
        process: Started with pipes for its input and output.
        name: For messages.

    Attributes:
        hello: What it said when it was up; holds its ``address``.
    """

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process = process
        self._name = name
        self.hello: Mapping[str, Any] = self._read()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Host and port it listens on."""
        return str(self.hello["address"])

    def ask(self, words: str) -> Mapping[str, Any]:
        """Its answer to a line. Blocks.

        Raises:
            ChildFailed: It ended, or answered with a ``problem``.
        """
        if self._process.stdin is None:
            raise ChildFailed(f"{self._name}: started without a pipe for its input (a bug)")
        self._process.stdin.write(words + "\n")
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
    """Run ``python -m module arguments`` as a child; stop it at the end.

    Args:
        module: Of this harness.
        arguments: For it.
        root: Of another copy of the project, to run that one's sources.

    Raises:
        ChildFailed: It ended before it was up.
    """
    environment = None if root == ROOT else {**os.environ, "PYTHONPATH": os.pathsep.join(_SOURCES)}
    with program([sys.executable, "-m", module, *arguments], module, folder=root, environment=environment) as process:
        yield process


@contextmanager
def program(
    command: Sequence[str], name: str, *, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Run any program that speaks like a child; stop it at the end.

    Args:
        command: The program and its arguments.
        name: For messages.
        folder: To run it in.
        environment: None = this process's.

    Raises:
        ChildFailed: It ended before it was up.
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
    """Wait for a process that was told to stop, but not for ever. Blocks."""
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
