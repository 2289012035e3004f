"""Starts a peer on a model, waits until it responds to a real request, and ends all of its processes. Sends no load."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from select import select
from signal import SIGKILL, SIGTERM, pidfd_send_signal
from socket import create_connection
from typing import IO, Final

import grpc

from bench.arms import fetch_answer
from bench.cases import Case
from bench.control import ROOT
from bench.peers.catalogue import Peer, Protocol, Setting
from bench.peers.install import ENVIRONMENTS, interpreter, scripts
from bench.peers.session import free_port
from bench.serving import Server

__all__ = ["PeerFailed", "ask", "body_of", "running", "up"]

_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.1
_REQUEST_TIMEOUT_S: Final = 10.0
_OK: Final = 200
_REASON_CHARACTERS: Final = 400


class PeerFailed(RuntimeError):
    """A peer did not start, or did not respond. Has the end of its log."""


@contextmanager
def running(peer: Peer, setting: Setting, case: Case) -> Iterator[Server]:
    """Start a peer on a free port, and wait until it responds.

    Args:
        peer: Installed.
        setting: One of its settings.
        case: Model and request.

    Raises:
        PeerFailed: It ended, or did not respond within a minute.
    """
    port = free_port()
    (row,) = case.row.values()
    command = [str(interpreter(peer.name)), str(scripts(peer.name) / "serve.py"), "--file", str(case.file)]
    command += ["--name", case.name, "--shape", ",".join(map(str, row.shape)), "--port", str(port)]
    command += ["--settings", json.dumps(setting.values)]
    address = f"127.0.0.1:{port}"
    with up(
        command,
        name=f"{peer.name} on {case.name}, {setting.name}",
        address=address,
        log=ENVIRONMENTS / f"{peer.name}.log",
        answers=lambda: ask(peer, case, address),
    ) as server:
        yield server


@contextmanager
def up(
    command: Sequence[str], *, name: str, address: str, log: Path, answers: Callable[[], object]
) -> Iterator[Server]:
    """Start any server, wait until it responds, and end all of its processes afterwards.

    Args:
        command: Command that starts it.
        name: For messages.
        address: Address to listen on.
        log: File for what it writes.
        answers: Sends a request; raises if there is no response.

    Raises:
        PeerFailed: It ended, or did not respond within a minute. Has the end of its log.
    """
    # What a server leaves lying as a temporary file goes with the folder.
    with (
        log.open("wb") as output,
        tempfile.TemporaryDirectory(prefix="sardonyx-peer-", ignore_cleanup_errors=True) as folder,
    ):
        process = _start(command, folder, output)
        server = Server(address=address, pid=process.pid)
        try:
            _wait(server, process, answers)
            yield server
        except _NotResponding as not_responding:
            said = " ".join(log.read_text(errors="replace").split())[-_REASON_CHARACTERS:]
            raise PeerFailed(f"{name}: {not_responding}; its last words: {said}") from None
        finally:
            _end(server, process)


def ask(peer: Peer, case: Case, address: str) -> bytes:
    """One answer of a peer that is up.

    Raises:
        grpc.RpcError: It answers with an error.
        PeerFailed: Likewise, over HTTP.
        OSError: It cannot be reached.
    """
    if peer.protocol is Protocol.OIP:
        return fetch_answer(address, case.request)
    connection = HTTPConnection(address, timeout=_REQUEST_TIMEOUT_S)
    try:
        connection.request("POST", peer.path, body_of(case), {"content-type": "application/octet-stream"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != _OK:
        raise PeerFailed(f"{peer.name}: HTTP status {answer.status}: {body[:_REASON_CHARACTERS]!r}")
    return body


def body_of(case: Case) -> bytes:
    """The row as plain bytes."""
    (row,) = case.row.values()
    return row.tobytes()


class _NotResponding(Exception):
    """It does not answer, and why."""


def _start(command: Sequence[str], folder: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder}
    environment.pop("VIRTUAL_ENV", None)
    return subprocess.Popen(  # noqa: S603  # the peer's own script
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    )


def _wait(server: Server, process: subprocess.Popen[bytes], answers: Callable[[], object]) -> None:
    until_s = time.monotonic() + _START_TIMEOUT_S
    host, _, port = server.address.rpartition(":")
    said = "no answer"
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise _NotResponding(f"ended with status {process.returncode}")
        try:
            with create_connection((host, int(port)), _REQUEST_TIMEOUT_S):
                pass  # gRPC would wait for a server that never comes
            answers()
        except (grpc.RpcError, PeerFailed, HTTPException, OSError) as error:
            said = str(error)[:_REASON_CHARACTERS]
            time.sleep(_POLL_S)
        else:
            return
    raise _NotResponding(f"nothing within {_START_TIMEOUT_S:g} s: {said}")


def _end(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, and kill its remaining processes. Linux only, like the measurement of CPU time."""
    tree = server.tree()
    process.send_signal(SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree:
        with suppress(ProcessLookupError):
            _kill(pid)


def _kill(pid: int) -> None:
    """End a process that may be nobody's child, and wait until it has ended."""
    handle = os.pidfd_open(pid)
    try:
        pidfd_send_signal(handle, SIGKILL)
        select([handle], [], [], _STOP_TIMEOUT_S)
    finally:
        os.close(handle)
