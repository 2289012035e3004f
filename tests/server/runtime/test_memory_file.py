"""Bytes have a path for a while."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sardonyx_server.runtime.memory_file import memory_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")


@pytest.mark.parametrize("data", [b"", b"abc", bytes(3_000_000)])
def test_the_path_leads_to_the_bytes(data: bytes) -> None:
    """Of any size."""
    with memory_file(data) as path:
        assert path is not None
        assert Path(path).read_bytes() == data


def test_nothing_is_left_of_it() -> None:
    """When the context is over."""
    with memory_file(b"abc") as path:
        assert path is not None
        assert Path(path).exists()
    assert not Path(path).exists()
