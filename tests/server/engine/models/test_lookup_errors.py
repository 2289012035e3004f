"""What is said where no model answers to a name and a version: exact words."""

from __future__ import annotations

import pytest

from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State, VersionStatus
from sardonyx_server.errors import InvalidRequest, ModelUnavailable, NotFound
from tests.server.engine.doubles import doubling, model_of, publish, signature


def registry_of(*versions: int) -> Registry:
    """A registry where these versions of 'm' are ready."""
    registry = Registry()
    for version in versions:
        publish(registry, model_of(doubling(), of=signature(version=version)), version=version)
    return registry


def test_a_model_that_was_never_loaded() -> None:
    """Known, whichever version is asked for, and there is no use in trying again."""
    registry = Registry()
    registry.set_problem("m", "")
    for version in ("", "3"):
        with pytest.raises(ModelUnavailable, match=r"^model 'm' has not been loaded$") as caught:
            registry.get("m", version)
        assert (caught.value.reason, caught.value.retry_after_s) == ("MODEL_NOT_LOADED", None)
    assert not registry.is_ready("m")


def test_a_model_that_was_unloaded() -> None:
    """Likewise."""
    registry = registry_of(1)
    registry.set_version("m", VersionStatus(number=1, state=State.CLOSED, reason="unloaded"))
    with pytest.raises(ModelUnavailable, match=r"^model 'm' is not loaded: unloaded$") as caught:
        registry.get("m")
    assert (caught.value.reason, caught.value.retry_after_s) == ("MODEL_NOT_LOADED", None)
    with pytest.raises(ModelUnavailable, match=r"^version 1 of model 'm' is not loaded: unloaded$"):
        registry.get("m", "1")


@pytest.mark.parametrize("version", ["abc", "-1", "0", "007", "1.0", " 1", "1\n", "²", "+1", "1e9"])
def test_a_version_that_is_no_positive_integer(version: str) -> None:
    """It is the caller's mistake, whether the model is known or not."""
    registry = registry_of(1)
    for name in ("m", "other"):
        with pytest.raises(InvalidRequest) as error:
            registry.get(name, version)
        assert error.value.field == "model_version"
        assert error.value.message.endswith(
            f" of model '{name}': expected a positive integer without leading zeros, or none for the newest"
        )


def test_an_unknown_model() -> None:
    """It says which there are."""
    registry = registry_of(1)
    with pytest.raises(NotFound) as error:
        registry.get("n")
    assert error.value.message == "unknown model 'n': this server has 'm'"
    assert error.value.reason == "MODEL_NOT_FOUND"


def test_an_empty_name() -> None:
    """Most likely forgotten."""
    with pytest.raises(NotFound) as error:
        registry_of(1).get("")
    assert error.value.message == "the model name is empty: this server has 'm'"


def test_an_empty_server() -> None:
    """It says so."""
    with pytest.raises(NotFound) as error:
        Registry().get("m")
    assert error.value.message == "unknown model 'm': this server has no models"


def test_many_models_are_not_all_listed() -> None:
    """A message has its limits."""
    registry = Registry()
    for index in range(10):
        registry.set_problem(f"m{index}", "no")
    with pytest.raises(NotFound) as error:
        registry.get("n")
    assert error.value.message == (
        "unknown model 'n': this server has 'm0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7' and 2 more"
    )


@pytest.mark.parametrize("version", ["2", "99", "9223372036854775807", "1" * 1000])
def test_an_unknown_version(version: str) -> None:
    """However large."""
    registry = registry_of(1, 3)
    with pytest.raises(NotFound) as error:
        registry.get("m", version)
    assert error.value.message.startswith(f"unknown version '{version[:80]}")
    assert error.value.message.endswith(" of model 'm': known versions are 1, 3")
    assert error.value.reason == "VERSION_NOT_FOUND"


def test_a_model_that_loads() -> None:
    """It may be there soon."""
    registry = Registry()
    registry.set_version("m", VersionStatus(number=1, state=State.LOADING))
    for version, what in (("", "model 'm'"), ("1", "version 1 of model 'm'")):
        with pytest.raises(ModelUnavailable) as error:
            registry.get("m", version)
        assert error.value.message == f"{what} is not ready: loading"
        assert error.value.retry_after_s == 1.0


def test_a_model_that_drains() -> None:
    """With why."""
    registry = Registry()
    registry.set_version("m", VersionStatus(number=1, state=State.DRAINING, reason="unloaded"))
    with pytest.raises(ModelUnavailable) as error:
        registry.get("m")
    assert error.value.message == "model 'm' is not ready: draining (unloaded)"


def test_a_version_that_failed() -> None:
    """With why; coming back soon is of no use."""
    registry = Registry()
    registry.set_version("m", VersionStatus(number=1, state=State.FAILED, reason="the file is empty"))
    with pytest.raises(ModelUnavailable) as error:
        registry.get("m", "1")
    assert error.value.message == "version 1 of model 'm' failed to load: the file is empty"
    assert (error.value.reason, error.value.retry_after_s) == ("MODEL_FAILED", None)


@pytest.mark.parametrize("version", ["", "1"])
def test_a_model_that_is_broken_as_a_whole(version: str) -> None:
    """It is known, so it is not missing: whatever version is asked for."""
    registry = Registry()
    registry.set_problem("m", "there is no version folder")
    with pytest.raises(ModelUnavailable) as error:
        registry.get("m", version)
    assert error.value.message == "model 'm' failed to load: there is no version folder"
    assert not registry.is_ready("m", version)


def test_the_newest_version_says_why_a_model_is_not_ready() -> None:
    """Older ones are no longer what the operator wants."""
    registry = Registry()
    registry.set_version("m", VersionStatus(number=2, state=State.LOADING))
    registry.set_version("m", VersionStatus(number=1, state=State.FAILED, reason="old"))
    with pytest.raises(ModelUnavailable, match=r"^model 'm' is not ready: loading$"):
        registry.get("m")
