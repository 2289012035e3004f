"""Which model answers a name and a version, which are ready, and what is listed."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import FrozenInstanceError
from typing import Any, cast

import pytest

from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import Entry, State, VersionStatus
from sardonyx_server.errors import InvalidRequest, NotFound
from tests.server.engine.doubles import doubling, model_of, publish, signature


def model(version: int = 1) -> Any:
    """A version of model 'm'."""
    return model_of(doubling(), of=signature(version=version))


def registry_of(*versions: int) -> tuple[Registry, dict[int, Any]]:
    """A registry where these versions of 'm' are ready."""
    registry, models = Registry(), {version: model(version) for version in versions}
    for version, each in models.items():
        publish(registry, each, version=version)
    return registry, models


class TestRoutes:
    """Name and version -> model."""

    def test_no_version_is_the_newest_ready_one(self) -> None:
        """In whatever order they came."""
        registry, models = registry_of(3, 10, 2)
        assert registry.get("m") is models[10]
        assert registry.find(("m", "")) is models[10]

    def test_a_version_by_its_number(self) -> None:
        """Every one that is ready."""
        registry, models = registry_of(3, 10)
        assert registry.get("m", "3") is models[3]
        assert registry.get("m", "10") is models[10]

    def test_a_newer_version_that_is_not_ready_does_not_count(self) -> None:
        """Requests stay with the one that works."""
        registry, models = registry_of(1)
        registry.set_version("m", VersionStatus(number=2, state=State.LOADING))
        assert registry.get("m") is models[1]
        registry.set_version("m", VersionStatus(number=2, state=State.FAILED, reason="no"))
        assert registry.get("m") is models[1]

    def test_a_version_that_drains_is_found_no_more(self) -> None:
        """The next one takes over."""
        registry, models = registry_of(1, 2)
        leaving = VersionStatus(number=2, state=State.DRAINING, reason="unloaded")
        registry.set_version("m", leaving)
        assert registry.get("m") is models[1]
        registry.replace_version("m", leaving, None)
        assert registry.get("m") is models[1]

    def test_a_version_that_is_replaced_is_the_new_one_from_then_on(self) -> None:
        """The swap is one assignment."""
        registry, _ = registry_of(1)
        other = model()
        publish(registry, other)
        assert registry.get("m", "1") is registry.get("m") is other


class TestReadiness:
    """What ModelReady and health ask."""

    def test_is_ready(self) -> None:
        """True, False, or an error for what is unknown."""
        registry, _ = registry_of(1)
        registry.set_version("m", VersionStatus(number=2, state=State.LOADING))
        assert registry.is_ready("m")
        assert registry.is_ready("m", "1")
        assert not registry.is_ready("m", "2")
        with pytest.raises(NotFound):
            registry.is_ready("m", "3")
        with pytest.raises(NotFound):
            registry.is_ready("n")
        with pytest.raises(InvalidRequest):
            registry.is_ready("m", "x")

    def test_listeners_hear_of_every_change(self) -> None:
        """When the registry shows it."""
        registry, _ = registry_of(1)
        heard: list[tuple[str, bool]] = []
        registry.subscribe(lambda name: heard.append((name, name in registry.entries() and registry.is_ready(name))))
        registry.set_version("m", VersionStatus(number=2, state=State.LOADING))
        registry.replace_version("m", registry.entries()["m"].versions[1], None)
        publish(registry, model(2), version=2)
        registry.set_problem("other", "no")
        registry.drop("m")
        registry.drop("other")
        assert heard == [
            ("m", True),
            ("m", False),
            ("m", True),
            ("other", False),
            ("m", False),
            ("other", False),
        ]


class TestEntries:
    """What is listed."""

    def test_a_snapshot_does_not_change(self) -> None:
        """Readers hold no lock."""
        registry, _ = registry_of(1)
        before = registry.entries()
        registry.set_version("m", VersionStatus(number=2, state=State.LOADING))
        assert list(before["m"].versions) == [1]
        assert list(registry.entries()["m"].versions) == [1, 2]

    def test_nobody_can_write_to_it(self) -> None:
        """Neither to the mapping nor to an entry."""
        registry, _ = registry_of(1)
        entries = cast("MutableMapping[str, Entry]", registry.entries())
        with pytest.raises(TypeError):
            entries["n"] = entries["m"]
        versions = cast("MutableMapping[int, VersionStatus]", entries["m"].versions)
        with pytest.raises(TypeError):
            del versions[1]
        with pytest.raises(FrozenInstanceError):
            entries["m"].name = "n"  # type: ignore[misc]  # that is the point

    def test_versions_are_ascending(self) -> None:
        """In whatever order they came."""
        assert list(registry_of(3, 10, 2)[0].entries()["m"].versions) == [2, 3, 10]

    def test_a_problem_stays_beside_versions_that_work_until_a_version_is_loaded(self) -> None:
        """A broken config does not stop what is served."""
        registry, models = registry_of(1)
        registry.set_problem("m", "config.pbtxt is wrong")
        assert registry.entries()["m"].problem == "config.pbtxt is wrong"
        assert registry.get("m") is models[1]
        publish(registry, model(2), version=2)
        assert not registry.entries()["m"].problem

    def test_the_last_version_takes_the_model_with_it(self) -> None:
        """Dropping what is not there does nothing."""
        registry, _ = registry_of(1, 2)
        one, two = registry.entries()["m"].versions.values()
        registry.replace_version("m", one, None)
        registry.replace_version("m", one, None)
        assert list(registry.entries()) == ["m"]
        registry.replace_version("m", two, None)
        assert not registry.entries()
        registry.replace_version("m", two, None)
        registry.drop("m")

    def test_a_version_is_replaced_only_while_it_is_what_it_was(self) -> None:
        """A drain that ends late must not undo a load that came after it."""
        registry, models = registry_of(1, 2)
        leaving = VersionStatus(number=1, state=State.DRAINING, reason="unloaded")
        closed = VersionStatus(number=1, state=State.CLOSED, reason="unloaded")
        registry.set_version("m", leaving)
        registry.replace_version("m", leaving, closed)
        assert registry.entries()["m"].versions[1] is closed
        registry.set_version("m", leaving)
        publish(registry, models[1])
        registry.replace_version("m", leaving, closed)
        assert registry.get("m", "1") is models[1]

    def test_a_model_is_unloaded_when_all_of_it_was_taken_out(self) -> None:
        """What failed, or works in another version, was not."""
        registry, _ = registry_of(1, 2)
        seen = []
        for number, state in ((1, State.CLOSED), (2, State.DRAINING), (2, State.CLOSED), (2, State.FAILED)):
            seen.append(registry.entries()["m"].is_unloaded)
            registry.set_version("m", VersionStatus(number=number, state=state, reason="unloaded"))
        seen.append(registry.entries()["m"].is_unloaded)
        assert seen == [False, False, True, True, False]
        registry.set_problem("never", "")
        assert not registry.entries()["never"].is_unloaded
