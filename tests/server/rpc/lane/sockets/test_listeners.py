"""Listening sockets, when the process can accept no more connections."""

from __future__ import annotations

import resource
import select
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sardonyx_server.rpc.lane.proxy.upstream import Upstream
from sardonyx_server.rpc.lane.sockets.listeners import Listeners

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


@contextmanager
def no_descriptors() -> Iterator[None]:
    """A process that may open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_lack_of_descriptors_is_said_once_and_callers_wait(caplog: pytest.LogCaptureFixture) -> None:
    """Accepting is tried again ten times a second; the log tells it once a minute. Who waited is accepted later."""
    taken: list[socket.socket] = []
    with select.epoll() as epoll:
        listeners = Listeners(epoll, taken.append)
        port = listeners.listen("127.0.0.1", 0)
        with socket.create_connection(("127.0.0.1", port)):
            ((fd, _),) = epoll.poll(timeout=60)
            with no_descriptors():
                for _ in range(3):
                    listeners.on_event(fd)
                    listeners.see_clock(time.monotonic() + 1)
            assert taken == []
            listeners.on_event(fd)
        listeners.close()
    assert len(taken) == 1
    taken[0].close()
    assert [(record.name, record.levelname) for record in caplog.records] == [("sardonyx.lane", "WARNING")]
    assert "ulimit -n" in caplog.messages[0]


def test_an_upstream_that_takes_no_connection_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Callers that are turned away come again and again, and the log would be theirs to fill."""
    upstream = Upstream()
    for _ in range(3):
        assert upstream.connect() is None
    assert caplog.messages == ["the grpcio server behind the lane takes no connection"]
