"""Logs: one JSON object per event for programs, readable lines for people."""

from __future__ import annotations

import io
import json
import logging
import warnings

import pytest

from sardonyx_server.observe import logs

LOG = logging.getLogger("sardonyx.test")
pytestmark = pytest.mark.usefixtures("log_as_before")


def test_auto_is_console_at_a_terminal_and_json_elsewhere() -> None:
    """And what is named wins."""
    assert logs.resolve_format("auto", is_terminal=True) == "console"
    assert logs.resolve_format("auto", is_terminal=False) == "json"
    assert logs.resolve_format("json", is_terminal=True) == "json"
    assert logs.resolve_format("console", is_terminal=False) == "console"


def test_an_event_is_one_json_object_with_its_fields() -> None:
    """Timestamp in UTC, level, logger and event first."""
    out = io.StringIO()
    logs.configure(log_format="json", level="info", stream=out)
    LOG.info("model ready", extra={"model": "iris\n", "load_s": 0.5})
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert list(event)[:4] == ["timestamp", "level", "logger", "event"]
    assert event["timestamp"].endswith("Z")
    del event["timestamp"]
    assert event == {
        "level": "info",
        "logger": "sardonyx.test",
        "event": "model ready",
        "model": "iris\n",
        "load_s": 0.5,
    }


def test_a_traceback_stays_inside_its_json_line() -> None:
    """One event is one line, whatever happened."""
    out = io.StringIO()
    logs.configure(log_format="json", level="info", stream=out)
    LOG.error("it failed", exc_info=RuntimeError("boom"))
    (line,) = out.getvalue().splitlines()
    assert "RuntimeError: boom" in json.loads(line)["exception"]


def test_a_console_line_is_readable_and_without_colour_where_none_is_wanted() -> None:
    """Time, level, event, fields."""
    out = io.StringIO()
    logs.configure(log_format="console", level="info", stream=out, colours=False)
    LOG.warning("model failed", extra={"model": "iris"})
    (line,) = out.getvalue().splitlines()
    assert line[8:] == " [warning  ] model failed [sardonyx.test] model=iris"


def test_the_level_can_change_and_configuring_again_replaces_the_first() -> None:
    """No event is written twice."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure(log_format="json", level="info", stream=first)
    logs.configure(log_format="json", level="warning", stream=second)
    LOG.info("quiet")
    logs.set_level("info")
    LOG.info("heard")
    assert first.getvalue() == ""
    assert [json.loads(line)["event"] for line in second.getvalue().splitlines()] == ["heard"]


def test_warnings_of_python_become_events() -> None:
    """They would break the stream of JSON otherwise."""
    out = io.StringIO()
    logs.configure(log_format="json", level="info", stream=out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in json.loads(out.getvalue())["event"]


def test_events_follow_standard_output_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    """A progress bar puts itself in its place while it is shown."""
    logs.configure(log_format="json", level="info")
    LOG.info("here")
    assert json.loads(capsys.readouterr().out)["event"] == "here"


@pytest.mark.parametrize(
    ("level", "switches"),
    [
        ("debug", logs.LogLevels(verbose=1)),
        ("info", logs.LogLevels()),
        ("warning", logs.LogLevels(info=False)),
        ("error", logs.LogLevels(info=False, warning=False)),
    ],
)
def test_a_level_at_start_is_a_state_of_every_switch(level: str, switches: logs.LogLevels) -> None:
    """What is read is what is in force."""
    logs.configure(log_format="console", level=level, stream=io.StringIO())
    assert logs.levels() == switches
    assert logs.current_format() == "console"


@pytest.mark.parametrize(
    ("switches", "heard"),
    [
        (logs.LogLevels(), ["info", "warning", "error", "critical"]),
        (logs.LogLevels(verbose=2), ["debug", "info", "warning", "error", "critical"]),
        (logs.LogLevels(info=False, verbose=1), ["debug", "warning", "error", "critical"]),
        (logs.LogLevels(warning=False), ["info", "error", "critical"]),
        (logs.LogLevels(info=False, warning=False, error=False), []),
    ],
)
def test_each_level_can_be_switched_by_itself_from_the_next_event_on(
    switches: logs.LogLevels, heard: list[str]
) -> None:
    """Whatever the level at start was."""
    out = io.StringIO()
    logs.configure(log_format="json", level="error", stream=out)
    LOG.info("before")
    logs.set_levels(switches)
    for level in ("debug", "info", "warning", "error", "critical"):
        LOG.log(logging.getLevelNamesMapping()[level.upper()], "event")
    assert [json.loads(line)["level"] for line in out.getvalue().splitlines()] == heard


def test_libraries_are_not_louder_than_the_operator_asked_for() -> None:
    """The switches are about this server's events."""
    out = io.StringIO()
    logs.configure(log_format="json", level="warning", stream=out)
    logs.set_levels(logs.LogLevels(verbose=1))
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["trouble"]


def test_who_speaks_something_else_to_an_http_port_is_said_once_a_minute() -> None:
    """A client of gRPC that was given the port of the metrics tries it several times a second."""
    out, now_s = io.StringIO(), [0.0]
    logs.configure(log_format="json", level="info", stream=out)
    (handler,) = logging.getLogger().handlers
    handler.filters[-1:] = [logs.NonHttpFilter(clock=lambda: now_s[0])]
    for moment_s in (0.0, 0.5, 59.9, 60.0):
        now_s[0] = moment_s
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("uvicorn.error").warning("something else")
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    told = [event for event in events if event["event"] != "something else"]
    assert [(event["logger"], "models are served on --grpc-port" in event["event"]) for event in told] == [
        ("sardonyx.http", True)
    ] * 2
    assert len(events) == len(told) + 4
