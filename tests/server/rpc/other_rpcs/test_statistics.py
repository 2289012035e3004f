"""ModelStatistics: which versions it tells of, and that no figure is lost on the way. Behaviour is in tests/e2e."""

from __future__ import annotations

from typing import Any

import pytest

from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State, VersionStatus
from sardonyx_server.errors import InvalidRequest, ModelUnavailable, NotFound, ServerError
from sardonyx_server.rpc.other_rpcs.statistics import Statistics
from sardonyx_wire.messages import ModelStatisticsRequest
from tests.server.engine.doubles import doubling, model_of, publish, signature


def some_registry() -> Registry:
    """A registry: m 2 and 10 are ready and 11 is loading; a is ready; z has failed."""
    registry = Registry()
    for name, version in (("m", 10), ("m", 2), ("a", 1)):
        publish(registry, model_of(doubling(), of=signature(version=version)), name=name, version=version)
    registry.set_version("m", VersionStatus(number=11, state=State.LOADING))
    registry.set_version("z", VersionStatus(number=1, state=State.FAILED, reason="the file is empty"))
    return registry


def asked(name: str = "", version: str = "", registry: Registry | None = None) -> Any:
    """The answer."""
    rpc = Statistics(registry or some_registry())
    return rpc.model_statistics(ModelStatisticsRequest(name=name, version=version))


@pytest.mark.parametrize(
    ("name", "version", "versions"),
    [("", "", ["1", "2", "10"]), ("m", "", ["2", "10"]), ("m", "2", ["2"]), ("a", "", ["1"])],
)
def test_it_tells_of_all_that_is_ready_of_a_model_or_of_one_version(
    name: str, version: str, versions: list[str]
) -> None:
    """No name: every model. No version: every one that is ready."""
    assert [one.version for one in asked(name, version).model_stats] == versions


def test_a_server_without_models_has_nothing_to_tell() -> None:
    """Which is no error."""
    assert not asked(registry=Registry()).model_stats


@pytest.mark.parametrize(
    ("name", "version", "error", "text"),
    [
        ("nobody", "", NotFound, "unknown model 'nobody': this server has 'm', 'a', 'z'"),
        ("m", "3", NotFound, "unknown version '3' of model 'm': known versions are 2, 10, 11"),
        (
            "m",
            "007",
            InvalidRequest,
            "version '007' of model 'm': expected a positive integer without leading zeros, or none for the newest",
        ),
        (
            "",
            "1",
            InvalidRequest,
            (
                "version '1' of no model: expected the name of its model with it, or neither of the two for every "
                "model that is ready"
            ),
        ),
        ("m", "11", ModelUnavailable, "version 11 of model 'm' is not ready: loading"),
        ("z", "", ModelUnavailable, "model 'z' failed to load: the file is empty"),
    ],
)
def test_what_it_cannot_tell_of(name: str, version: str, error: type[ServerError], text: str) -> None:
    """Unknown, wrong, or not ready."""
    with pytest.raises(error) as caught:
        asked(name, version)
    assert caught.value.message == text


@pytest.mark.parametrize(("name", "version", "field"), [("m", "abc", "version"), ("", "1", "name")])
def test_the_field_that_is_wrong_is_named(name: str, version: str, field: str) -> None:
    """Of this request, not of ModelInfer's."""
    with pytest.raises(InvalidRequest) as caught:
        asked(name, version)
    assert caught.value.field == field


def test_every_figure_arrives() -> None:
    """Each in its field."""
    model = model_of(doubling())
    counters = model.counters[0]
    counters.ran(4, 2, input_s=1.0, infer_s=2.0, unix_s=1700000000.5)
    counters.scattered(4, 0.5)
    counters.answered(3, arrived_s=0.0, began_s=5.0, ran_s=8.0, now_s=8.25, streamed=False)
    counters.answered(1, arrived_s=1.0, began_s=5.0, ran_s=8.0, now_s=8.5, streamed=False)
    counters.hit(7.0, 0.125, streamed=False)
    counters.missed(0.25)
    model.failures.count(NotFound("x"), 3.0)
    registry = Registry()
    publish(registry, model)
    (one,) = asked("m", registry=registry).model_stats
    assert (one.name, one.version, one.last_inference) == ("m", "1", 1700000000500)
    assert (one.inference_count, one.execution_count) == (4, 1)
    seconds = {field.name: (duration.count, duration.ns / 1e9) for field, duration in one.inference_stats.ListFields()}
    assert seconds == {
        "success": (3, 22.75),
        "fail": (1, 3.0),
        "queue": (3, 15.875),
        "compute_input": (2, 2.0),
        "compute_infer": (2, 4.0),
        "compute_output": (2, 0.75),
        "cache_hit": (1, 0.125),
        "cache_miss": (1, 0.25),
    }
    (batch,) = one.batch_stats
    assert batch.batch_size == 4
    parts = (batch.compute_input, batch.compute_infer, batch.compute_output)
    assert [(part.count, part.ns / 1e9) for part in parts] == [(1, 1.0), (1, 2.0), (1, 0.5)]
