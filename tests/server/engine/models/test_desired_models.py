"""Which models shall be served, and what the operator hears of how their changes are seen."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_server.engine.models.desired_models import DesiredModels
from sardonyx_server.engine.models.lifecycle import Lifecycle
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.spec import BrokenModel
from sardonyx_server.settings import Settings
from tests.server.repository.onnx_models import put_model

if TYPE_CHECKING:
    from pathlib import Path

    from sardonyx_server.engine.running.model import Model


def wanted_of(path: Path, **settings: Any) -> tuple[DesiredModels, Registry]:
    """What shall be served of a repository, and the registry that is told of it; nothing can be loaded."""

    def load(*_: object) -> Model:
        raise LoadFailed("no model")

    registry = Registry()
    lifecycle = Lifecycle(registry, load, drain_timeout_s=0.0)
    return DesiredModels(Settings(model_repository=(path,), **settings), registry, lifecycle), registry


def test_all_models_on_disk_are_wanted(tmp_path: Path) -> None:
    """Where the operator names none, and where the name is '*'."""
    put_model(tmp_path, "a")
    put_model(tmp_path, "b")
    assert set(wanted_of(tmp_path)[0].scan()) == {"a", "b"}
    assert set(wanted_of(tmp_path, model_control_mode="explicit", load_model="*")[0].scan()) == {"a", "b"}


def test_of_named_models_those_that_are_missing_failed_and_the_others_are_known(tmp_path: Path) -> None:
    """So that readiness tells of the first, and callers hear that the second are not loaded."""
    put_model(tmp_path, "a")
    put_model(tmp_path, "b")
    wanted, registry = wanted_of(tmp_path, model_control_mode="explicit", load_model="b,c")
    found = wanted.scan()
    assert set(found) == {"b", "c"}
    absent = found["c"]
    assert isinstance(absent, BrokenModel)
    assert absent.reason == "--load-model names it, but no repository has it; there are a, b"
    assert set(registry.entries()) == {"a"}


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_the_operator_hears_why_changes_are_seen_late(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In poll mode, of a path whose changes the system does not report."""
    put_model(tmp_path, "a")
    wanted, _ = wanted_of(tmp_path / "a/1/model.onnx", model_control_mode=mode)
    wanted.stop()
    with caplog.at_level(logging.INFO):
        wanted.follow()
    assert [record.__dict__["reason"] for record in caplog.records] == ["a path is no folder"] * (mode == "poll")
