"""A server that doubles, and its address."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.server.cli.doubler import Doubler

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def doubler() -> Doubler:
    """The service."""
    return Doubler()


@pytest.fixture
def url(doubler: Doubler) -> Iterator[str]:
    """Where it is served."""
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((doubler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()
