"""LogSettings: Triton's keys and types, all or nothing, and no path from a caller."""

from __future__ import annotations

from typing import Any

import pytest

from sardonyx_server.errors import InvalidRequest, TryLater
from sardonyx_server.observe.logs import LogLevels
from sardonyx_server.rpc.other_rpcs.log_settings import LogSettings
from sardonyx_wire.messages import LogSettingsRequest

AT_START: dict[str, bool | int | str] = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "json",
}
ARMS = {bool: "bool_param", int: "uint32_param", str: "string_param"}


class FakeLog:
    """A log that nobody writes to."""

    def __init__(self) -> None:
        self.now = LogLevels()
        self.changes = 0

    def levels(self) -> LogLevels:
        """Which events would be logged."""
        return self.now

    def set_levels(self, wanted: LogLevels) -> None:
        """Change it."""
        self.now = wanted
        self.changes += 1

    def current_format(self) -> str:
        """How they would look."""
        return "json"


def ask(of: LogSettings, /, **settings: Any) -> dict[str, Any]:
    """Change settings, or none, and read all. None sends a setting without a value."""
    request = LogSettingsRequest()
    for name, value in settings.items():
        request.settings[name].SetInParent()
        if value is not None:
            setattr(request.settings[name], ARMS[type(value)], value)
    answer = of.answer(request)
    arms = {name: value.WhichOneof("parameter_choice") for name, value in answer.settings.items()}
    assert arms == {name: ARMS[type(value)] for name, value in AT_START.items()}
    return {name: getattr(answer.settings[name], str(arm)) for name, arm in arms.items()}


def test_settings_are_read_with_tritons_keys_and_types() -> None:
    """What is in force."""
    assert ask(LogSettings(FakeLog(), allow_admin=False)) == AT_START


def test_the_answer_tells_what_is_in_force_after_the_change() -> None:
    """Only what is given changes."""
    log = FakeLog()
    one = LogSettings(log, allow_admin=True)
    assert ask(one, log_info=False, log_verbose_level=2) == AT_START | {"log_info": False, "log_verbose_level": 2}
    assert ask(one, log_error=False)["log_info"] is False
    assert log.now == LogLevels(info=False, warning=True, error=False, verbose=2)
    assert log.changes == 2


def test_what_cannot_be_changed_may_be_said_as_it_is() -> None:
    """A client may send back all that it has read; 'default' is Triton's name for the format it starts with."""
    one = LogSettings(FakeLog(), allow_admin=True)
    assert ask(one, **AT_START) == AT_START
    assert ask(one, log_format="default") == AT_START


@pytest.mark.parametrize(
    ("settings", "message", "field"),
    [
        (
            {"log_file": "/tmp/x"},  # noqa: S108  # never opened
            (
                "setting 'log_file': a caller cannot choose where the log goes; it goes to the server's standard "
                "output, which the operator may direct into a file"
            ),
            "settings[log_file]",
        ),
        (
            {"log_format": "ISO8601"},
            (
                "setting 'log_format': expected 'json', which is in force, or 'default', got 'ISO8601'; the operator "
                "chooses it with --log-format"
            ),
            "settings[log_format]",
        ),
        ({"log_info": 1}, "setting 'log_info': expected a boolean, got uint32_param", "settings[log_info]"),
        ({"log_error": "true"}, "setting 'log_error': expected a boolean, got string_param", "settings[log_error]"),
        ({"log_warning": None}, "setting 'log_warning': expected a boolean, got no value", "settings[log_warning]"),
        (
            {"log_verbose_level": True},
            "setting 'log_verbose_level': expected a uint32, got bool_param",
            "settings[log_verbose_level]",
        ),
        (
            {"log_warnings": True},
            (
                "unknown log setting 'log_warnings': expected one of log_error, log_file, log_format, log_info, "
                "log_verbose_level, log_warning"
            ),
            "settings",
        ),
    ],
)
def test_a_wrong_value_is_refused_and_changes_nothing(settings: dict[str, Any], message: str, field: str) -> None:
    """Not even the right ones beside it."""
    log = FakeLog()
    with pytest.raises(InvalidRequest) as caught:
        ask(LogSettings(log, allow_admin=True), **{"log_info": False, "log_error": False} | settings)
    assert (caught.value.message, caught.value.field) == (message, field)
    assert log.changes == 0


def test_changing_needs_the_operators_leave() -> None:
    """--allow-admin; reading does not."""
    log = FakeLog()
    with pytest.raises(TryLater) as caught:
        ask(LogSettings(log, allow_admin=False), log_verbose_level=1)
    assert caught.value.message == (
        "changing log settings is not allowed on this server; reading is. The operator allows it with --allow-admin "
        "true"
    )
    assert caught.value.reason == "ADMIN_NOT_ALLOWED"
    assert log.changes == 0
