"""A transport that echoes, and raw connections to it: for the tests of how HTTP/2 is spoken."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.transports import TRANSPORTS, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.rpc.transports import Transport


@pytest.fixture(scope="module", params=TRANSPORTS)
def echo(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Each transport, which answers a request with its own bytes; it outlives the test."""
    with opened(request.param, react=lambda message, call: call.reply(message)) as transport:
        yield transport


@pytest.fixture
def peer(echo: Transport) -> Iterator[Peer]:
    """A connection to it."""
    with Peer(echo.address) as connection:
        yield connection


@pytest.fixture
def bystander(echo: Transport) -> Iterator[Peer]:
    """Another connection to it: a round trip there has the server read what was sent here before."""
    with Peer(echo.address) as connection:
        yield connection


@pytest.fixture
def no_bug_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A connection that fails inside the server ends well for others; it is a bug all the same."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []
