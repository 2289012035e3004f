"""The life of a server process: which event leads where."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from sardonyx_server.cli.exit_codes import ExitCode
from sardonyx_server.cli.server_lifecycle import (
    EventQueue,
    FatalError,
    StopRequested,
    forward_signals,
    run_until_stopped,
)
from tests.server.cli.doubles import FakeApp


def run(app: FakeApp, events: EventQueue, log: list[str], on_started: Callable[[], ExitCode | None]) -> ExitCode:
    """Supervises the double and notes what is told."""
    return run_until_stopped(
        app,
        events,
        exit_timeout_s=30,
        on_started=on_started,
        on_stopping=lambda: log.append("stopping"),
        on_stopped=lambda finished: log.append(f"stopped {finished}"),
    )


def test_a_signal_drains_and_ends_with_0() -> None:
    """The way a service manager stops it."""
    app, events, log = FakeApp(), EventQueue(), list[str]()
    app.let_start.set()
    app.let_drain.set()

    def on_started() -> None:
        log.append("started")
        events.put(StopRequested())

    assert run(app, events, log, on_started) == ExitCode.OK
    assert app.calls == ["start", "drain 30"]
    assert log == ["started", "stopping", "stopped True"]


def test_a_second_signal_hurries() -> None:
    """What is in flight is dropped, and the end is still 0."""
    app, events, log = FakeApp(), EventQueue(), list[str]()
    app.let_start.set()

    def on_started() -> None:
        events.put(StopRequested())
        events.put(StopRequested())

    assert run(app, events, log, on_started) == ExitCode.OK
    assert app.calls[0] == "start"
    assert sorted(app.calls[1:]) == ["drain 30", "kill"]
    assert log == ["stopping", "stopped False"]


def test_a_signal_while_models_load_stops_too() -> None:
    """And a start that ends afterwards announces nothing."""
    app, events, log = FakeApp(), EventQueue(), list[str]()
    events.put(StopRequested())

    def go_on() -> None:
        app.let_start.set()
        app.let_drain.set()

    threading.Thread(target=go_on).start()
    assert run(app, events, log, lambda: pytest.fail("announced")) == ExitCode.OK
    assert "drain 30" in app.calls
    assert log == ["stopping", "stopped True"]


def test_the_start_can_ask_to_stop_with_a_code() -> None:
    """For --exit-on-error."""
    app, events, log = FakeApp(), EventQueue(), list[str]()
    app.let_start.set()
    app.let_drain.set()
    assert run(app, events, log, lambda: ExitCode.LOAD_FAILED) == ExitCode.LOAD_FAILED


def test_a_lost_part_ends_the_process_with_1() -> None:
    """So that whoever watches the process starts it again."""
    app, events, log = FakeApp(), EventQueue(), list[str]()
    app.let_start.set()
    app.let_drain.set()
    assert run(app, events, log, lambda: events.put(FatalError(RuntimeError("bug")))) == ExitCode.UNEXPECTED
    assert log == ["stopping", "stopped True"]


def test_a_start_that_fails_raises_its_error() -> None:
    """A port in use, for one."""
    app, events = FakeApp(start_error=OSError("in use")), EventQueue()
    app.let_start.set()
    with pytest.raises(OSError, match="in use"):
        run(app, events, [], lambda: None)


def test_signals_become_events_and_the_old_handlers_come_back() -> None:
    """SIGTERM and SIGINT alike."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    events = EventQueue()
    with forward_signals(events):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            assert events.get(timeout=60) == StopRequested()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
