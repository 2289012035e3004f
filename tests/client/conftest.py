"""Clients of each kind, for the suites that hold for all of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import pytest

from sardonyx_client._options import Transport
from tests.client.both_clients import CLIENT_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=[f"{front} {transport}" for front in CLIENT_CLASSES for transport in get_args(Transport)])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client, of each kind and on each transport: its own HTTP/2 where it fits, or grpcio's channel."""
    front, transport = request.param.split()
    return partial(CLIENT_CLASSES[front], transport=transport)


@pytest.fixture(params=CLIENT_CLASSES)
def make_http2(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client that uses its own HTTP/2 transport, of each kind."""
    return CLIENT_CLASSES[request.param]
