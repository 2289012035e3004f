"""Whether the lane can be used is found out before it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sardonyx_server.rpc import completion_queue
from sardonyx_server.rpc.self_check import self_check

if TYPE_CHECKING:
    import pytest


def test_the_self_check_passes_with_the_installed_grpcio() -> None:
    """If not, this grpcio needs work: the fallback is several times slower."""
    assert self_check() == ""


def test_the_self_check_leaves_nothing_behind_and_can_be_repeated() -> None:
    """It starts and stops a server of its own."""
    assert [self_check() for _ in range(3)] == ["", "", ""]


def test_the_self_check_reports_what_it_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grpcio without the private parts: any exception means "do not use"."""
    private: Any = vars(completion_queue)["cygrpc"]
    monkeypatch.delattr(private, "ReceiveCloseOnServerOperation")
    problem = self_check()
    assert problem.startswith("AttributeError: ")
    assert "ReceiveCloseOnServerOperation" in problem
