"""The life of a server process: which event leads where."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from sardonyx_server.cli.exits import Exit
from sardonyx_server.cli.supervise import Inbox, Lost, StopAsked, signals_into, supervise
from tests.server.cli.doubles import FakeApp


def run(app: FakeApp, inbox: Inbox, log: list[str], on_started: Callable[[], Exit | None]) -> Exit:
    """Supervises the double and notes what is told."""
    return supervise(
        app,
        inbox,
        exit_timeout_s=30,
        on_started=on_started,
        on_stopping=lambda: log.append("stopping"),
        on_stopped=lambda finished: log.append(f"stopped {finished}"),
    )


def test_a_signal_drains_and_ends_with_0() -> None:
    """The way a service manager stops it."""
    app, inbox, log = FakeApp(), Inbox(), list[str]()
    app.let_start.set()
    app.let_drain.set()

    def on_started() -> None:
        log.append("started")
        inbox.put(StopAsked())

    assert run(app, inbox, log, on_started) == Exit.OK
    assert app.calls == ["start", "drain 30"]
    assert log == ["started", "stopping", "stopped True"]


def test_a_second_signal_hurries() -> None:
    """What is in flight is dropped, and the end is still 0."""
    app, inbox, log = FakeApp(), Inbox(), list[str]()
    app.let_start.set()

    def on_started() -> None:
        inbox.put(StopAsked())
        inbox.put(StopAsked())

    assert run(app, inbox, log, on_started) == Exit.OK
    assert app.calls[0] == "start"
    assert sorted(app.calls[1:]) == ["drain 30", "kill"]
    assert log == ["stopping", "stopped False"]


def test_a_signal_while_models_load_stops_too() -> None:
    """And a start that ends afterwards announces nothing."""
    app, inbox, log = FakeApp(), Inbox(), list[str]()
    inbox.put(StopAsked())

    def go_on() -> None:
        app.let_start.set()
        app.let_drain.set()

    threading.Thread(target=go_on).start()
    assert run(app, inbox, log, lambda: pytest.fail("announced")) == Exit.OK
    assert "drain 30" in app.calls
    assert log == ["stopping", "stopped True"]


def test_the_greeting_can_ask_to_stop_with_a_code() -> None:
    """For --exit-on-error."""
    app, inbox, log = FakeApp(), Inbox(), list[str]()
    app.let_start.set()
    app.let_drain.set()
    assert run(app, inbox, log, lambda: Exit.LOAD_FAILED) == Exit.LOAD_FAILED


def test_a_lost_part_ends_the_process_with_1() -> None:
    """So that whoever watches the process starts it again."""
    app, inbox, log = FakeApp(), Inbox(), list[str]()
    app.let_start.set()
    app.let_drain.set()
    assert run(app, inbox, log, lambda: inbox.put(Lost(RuntimeError("bug")))) == Exit.UNEXPECTED
    assert log == ["stopping", "stopped True"]


def test_a_start_that_fails_raises_its_error() -> None:
    """A port in use, for one."""
    app, inbox = FakeApp(start_error=OSError("in use")), Inbox()
    app.let_start.set()
    with pytest.raises(OSError, match="in use"):
        run(app, inbox, [], lambda: None)


def test_signals_become_events_and_the_old_handlers_come_back() -> None:
    """SIGTERM and SIGINT alike."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    inbox = Inbox()
    with signals_into(inbox):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            assert inbox.get(timeout=60) == StopAsked()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
