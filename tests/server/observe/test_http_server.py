"""What the HTTP ports log where the process has no file descriptors left, and whom they show out."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from sardonyx_server.observe.http_server import AcceptErrorHandler, IdleConnections

if TYPE_CHECKING:
    import pytest


def test_a_lack_of_descriptors_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """One of asyncio's reports comes for each place of its backlog, and again a second later."""
    now_s = [0.0]
    handler = AcceptErrorHandler(clock=lambda: now_s[0])
    loop = asyncio.new_event_loop()
    try:
        for moment_s in (0.0, 0.0, 1.0, 59.9, 60.0):
            now_s[0] = moment_s
            handler(loop, {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
    finally:
        loop.close()
    said = [(record.name, record.levelname, record.exc_info) for record in caplog.records]
    assert said == [("sardonyx.http", "WARNING", None)] * 2
    assert "ulimit -n" in caplog.messages[0]


def test_any_other_error_is_reported_as_asyncio_does(caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback: nobody foresaw it."""
    loop = asyncio.new_event_loop()
    try:
        AcceptErrorHandler()(loop, {"message": "a task failed", "exception": ValueError("x")})
    finally:
        loop.close()
    assert [(record.name, record.levelname) for record in caplog.records] == [("asyncio", "ERROR")]


class _Request:
    """As much of one of uvicorn's as is looked at."""

    response_complete = True


class _Connection:
    """Likewise."""

    cycle: _Request | None = None


def test_who_connects_and_asks_nothing_has_ten_seconds() -> None:
    """Who asks has as many again, and who is gone is forgotten."""
    idle, asking, later, gone = (_Connection() for _ in range(4))
    connections = IdleConnections()
    assert connections.expired([idle, asking, gone], 100.0) == []
    asking.cycle = _Request()
    assert connections.expired([idle, asking, later], 105.0) == []
    assert connections.expired([idle, asking, later], 110.0) == [idle]
    asking.cycle = _Request()
    assert connections.expired([asking, later, gone], 115.0) == [later]
    assert connections.expired([asking, gone], 124.9) == []
    assert connections.expired([asking, gone], 125.0) == [asking, gone]


def test_who_waits_for_an_answer_is_not_silent() -> None:
    """However long that takes, and then the ten seconds begin."""
    connections, waiting, request = IdleConnections(), _Connection(), _Request()
    waiting.cycle = request
    request.response_complete = False
    assert connections.expired([waiting], 100.0) == []
    assert connections.expired([waiting], 200.0) == []
    request.response_complete = True
    assert connections.expired([waiting], 201.0) == []
    assert connections.expired([waiting], 211.0) == [waiting]
