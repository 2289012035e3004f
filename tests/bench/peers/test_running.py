"""A server of another kind: waited for until it answers, ended with all of its processes, or named with its words."""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from bench.peers.running import PeerFailed, up
from bench.peers.session import free_port

# Its answers come from a process of its own making, as a worker's do.
_SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())

if os.fork():
    os.wait()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""


def _ask(address: str) -> int:
    connection = HTTPConnection(address, timeout=60)
    connection.request("GET", "/")
    answer = connection.getresponse()
    pid = int(answer.read())
    connection.close()
    return pid


def test_a_server_is_up_once_it_answers_and_leaves_no_process(tmp_path: Path) -> None:
    """Not even one that its first process does not end."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-c", _SERVER, str(port)]
    with up(command, name="it", address=address, log=tmp_path / "log", answers=lambda: _ask(address)) as server:
        worker = _ask(address)
        assert worker != server.pid
        assert worker in server.tree()
    with pytest.raises(OSError, match="refused"):
        _ask(address)


def test_a_server_that_ends_is_named_with_its_status_and_its_last_words(tmp_path: Path) -> None:
    """Standard error is where most say why."""
    command = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with (
        pytest.raises(PeerFailed, match=r"^it: ended with status 1; its last words: no such model$"),
        up(command, name="it", address=f"127.0.0.1:{free_port()}", log=tmp_path / "log", answers=lambda: None),
    ):
        pytest.fail("it was said to be up")
