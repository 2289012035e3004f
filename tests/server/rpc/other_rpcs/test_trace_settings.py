"""TraceSetting: Triton's keys and texts, all or nothing, and no path from a caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sardonyx_server.engine.telemetry.sampling import Sampler
from sardonyx_server.engine.telemetry.sampling import TraceSettings as Values
from sardonyx_server.errors import InvalidRequest, NotFound, TryLater
from sardonyx_server.rpc.other_rpcs.trace_settings import Destination, TraceSettings
from sardonyx_wire.messages import TraceSettingRequest
from tests.server.engine.traces import KeptTraces
from tests.server.rpc.doubles import some_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

AT_START = {
    "trace_level": ["OFF"],
    "trace_rate": ["1000"],
    "trace_count": ["-1"],
    "log_frequency": ["0"],
    "trace_file": ["traces.jsonl"],
    "trace_mode": ["triton"],
}


def rpc(*, allow_admin: bool = True, exists: bool = True, mode: str = "triton") -> TraceSettings:
    """Over the models of some_registry()."""
    registry = some_registry()
    sampling = Sampler(Values(), sink=KeptTraces(), knows=lambda name: name in registry.entries(), parent_based=False)
    destination = Destination(file="traces.jsonl" if exists else "", mode=mode, exists=exists)
    return TraceSettings(registry, sampling, destination, allow_admin=allow_admin)


def ask(of: TraceSettings, model: str = "", /, **settings: Sequence[str]) -> dict[str, list[str]]:
    """Change settings, or none, and read all."""
    request = TraceSettingRequest(model_name=model)
    for name, values in settings.items():
        request.settings[name].value.extend(values)
    return {name: list(value.value) for name, value in of.answer(request).settings.items()}


def test_settings_are_read_with_tritons_keys_and_defaults() -> None:
    """Each a list of one text."""
    assert ask(rpc()) == AT_START
    assert ask(rpc(mode="opentelemetry"))["trace_mode"] == ["opentelemetry"]
    assert ask(rpc(exists=False))["trace_file"] == [""]


def test_the_answer_tells_what_is_in_force_after_the_change() -> None:
    """Only what is given changes."""
    one = rpc()
    changed = {"trace_level": ["TIMESTAMPS"], "trace_rate": ["10"], "trace_count": ["5"], "log_frequency": ["50"]}
    assert ask(one, **changed) == AT_START | changed
    assert ask(one, trace_level=["OFF"]) == AT_START | changed | {"trace_level": ["OFF"]}
    assert ask(one) == AT_START | changed | {"trace_level": ["OFF"]}


def test_a_model_has_settings_of_its_own_until_they_are_cleared() -> None:
    """An empty value is how tritonclient sends None."""
    one = rpc()
    assert ask(one, "iris", trace_rate=["7"]) == AT_START | {"trace_rate": ["7"]}
    assert ask(one, trace_rate=["9"]) == AT_START | {"trace_rate": ["9"]}
    assert ask(one, "iris")["trace_rate"] == ["7"]
    assert ask(one, "wine")["trace_rate"] == ["9"]
    assert ask(one, "iris", trace_rate=[])["trace_rate"] == ["9"]
    assert ask(one, trace_rate=[], trace_level=[], trace_count=[], log_frequency=[]) == AT_START


def test_what_cannot_be_changed_may_be_said_as_it_is() -> None:
    """A client may send back all that it has read."""
    assert ask(rpc(), **AT_START) == AT_START
    assert ask(rpc(), trace_file=[], trace_mode=[]) == AT_START


@pytest.mark.parametrize("model", ["", "iris"])
@pytest.mark.parametrize(
    ("settings", "message", "field"),
    [
        (
            {"trace_file": ["/etc/passwd"]},
            "setting 'trace_file': a caller cannot choose where traces go; the operator does with --trace-dir",
            "settings[trace_file]",
        ),
        (
            {"trace_file": ["traces.jsonl", "x"]},
            "setting 'trace_file': a caller cannot choose where traces go; the operator does with --trace-dir",
            "settings[trace_file]",
        ),
        (
            {"trace_mode": ["opentelemetry"]},
            (
                "setting 'trace_mode': expected 'triton', which is in force, got 'opentelemetry'; the operator chooses "
                "it with --trace-dir and --trace-otlp-endpoint"
            ),
            "settings[trace_mode]",
        ),
        (
            {"trace_level": ["TIMESTAMPS", "TENSORS"]},
            (
                "setting 'trace_level': expected OFF or TIMESTAMPS, since tensors of callers are never written, got 2 "
                "values"
            ),
            "settings[trace_level]",
        ),
        (
            {"trace_level": ["timestamps"]},
            "setting 'trace_level': expected OFF or TIMESTAMPS, got 'timestamps'",
            "settings[trace_level]",
        ),
        (
            {"trace_rate": ["0"]},
            "setting 'trace_rate': expected one whole number from 1 to 2147483647, got '0'",
            "settings[trace_rate]",
        ),
        (
            {"trace_count": ["-2"]},
            "setting 'trace_count': expected one whole number from -1 to 2147483647, got '-2'",
            "settings[trace_count]",
        ),
        (
            {"log_frequency": ["1", "2"]},
            "setting 'log_frequency': expected one whole number from 0 to 2147483647, got 2 values",
            "settings[log_frequency]",
        ),
        (
            {"colour": ["red"]},
            (
                "unknown trace setting 'colour': expected one of log_frequency, trace_count, trace_file, trace_level, "
                "trace_mode, trace_rate"
            ),
            "settings",
        ),
    ],
)
def test_a_wrong_value_is_refused_and_changes_nothing(
    settings: dict[str, list[str]], message: str, field: str, model: str
) -> None:
    """Not even the right ones beside it."""
    one = rpc()
    with pytest.raises(InvalidRequest) as caught:
        ask(one, model, **{"trace_level": ["TIMESTAMPS"], "trace_rate": ["3"]} | settings)
    assert (caught.value.message, caught.value.field) == (message, field)
    assert ask(one, model) == AT_START


@pytest.mark.parametrize(
    "text", ["", " 1", "1_0", "+1", "0x1", "1.0", "1e3", "--1", "-", "\u0661", "9" * 5000, "2147483648"]
)
def test_only_plain_numbers_are_numbers(text: str) -> None:
    """Python's int() would take more."""
    with pytest.raises(InvalidRequest, match=r"^setting 'trace_rate': expected one whole number from 1 to 2147483647"):
        ask(rpc(), trace_rate=[text])


def test_a_model_that_does_not_exist_has_no_settings() -> None:
    """To read or to change; one that has failed to load does."""
    for settings in ({}, {"trace_rate": ["1"]}):
        with pytest.raises(NotFound, match=r"^unknown model 'nobody': this server has 'iris'"):
            ask(rpc(), "nobody", **settings)
    assert ask(rpc(), "wine", trace_rate=["1"])["trace_rate"] == ["1"]


def test_changing_needs_the_operators_leave_and_reading_does_not() -> None:
    """--allow-admin."""
    one = rpc(allow_admin=False)
    with pytest.raises(TryLater) as caught:
        ask(one, trace_level=["TIMESTAMPS"])
    assert caught.value.message == (
        "changing trace settings is not allowed on this server; reading is. The operator allows it with --allow-admin "
        "true"
    )
    assert caught.value.reason == "ADMIN_NOT_ALLOWED"
    assert ask(one) == ask(one, "iris") == AT_START


def test_tracing_needs_a_place_for_its_traces() -> None:
    """All else can be set beforehand."""
    one = rpc(exists=False)
    with pytest.raises(TryLater) as caught:
        ask(one, trace_level=["TIMESTAMPS"], trace_rate=["3"])
    assert caught.value.message == (
        "setting 'trace_level': traces have nowhere to go; the operator names a folder for them with --trace-dir, or a "
        "collector with --trace-otlp-endpoint"
    )
    assert caught.value.reason == "NO_TRACE_DESTINATION"
    assert ask(one)["trace_rate"] == ["1000"]
    assert ask(one, trace_rate=["3"], trace_level=["OFF"])["trace_rate"] == ["3"]


def test_every_setting_is_in_the_message_that_lists_them() -> None:
    """The list is made of the table."""
    with pytest.raises(InvalidRequest) as caught:
        ask(rpc(), nothing=["1"])
    assert all(name in caught.value.message for name in AT_START)
