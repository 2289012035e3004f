"""Clients of each kind, for the suites that hold for all of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import pytest

from sardonyx_client._options import Transport
from tests.client.fronts import FRONTS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=[f"{front} {transport}" for front in FRONTS for transport in get_args(Transport)])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client, of each kind and on each transport: the lane where it fits, or the channel."""
    front, transport = request.param.split()
    return partial(FRONTS[front], transport=transport)


@pytest.fixture(params=FRONTS)
def make_lane(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client that takes the lane, of each kind."""
    return FRONTS[request.param]
