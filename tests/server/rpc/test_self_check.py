"""Whether the lane can be used is found out before it is."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from sardonyx_server.rpc.self_check import self_check

if TYPE_CHECKING:
    import pytest


def test_the_self_check_passes_with_the_installed_grpcio() -> None:
    """If not, it needs work: the fallback is many times slower."""
    assert self_check() == ""


def test_the_self_check_leaves_nothing_behind_and_can_be_repeated() -> None:
    """It starts and stops a server of its own."""
    assert [self_check() for _ in range(3)] == ["", "", ""]


def test_the_self_check_reports_what_it_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without what the lane waits by; and any exception means "do not use"."""
    with monkeypatch.context() as without:
        without.delattr(select, "epoll")
        assert "no epoll" in self_check()
    monkeypatch.setattr(select, "epoll", None)
    assert self_check().startswith("TypeError: ")
