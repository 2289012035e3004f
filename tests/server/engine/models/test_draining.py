"""Drainer go on side by side, tell their end, and are bounded."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sardonyx_server.engine.models import draining as module
from sardonyx_server.engine.models.draining import Drainer
from tests.e2e.servers import eventually
from tests.server.engine.doubles import PATIENCE_S, doubling, info, model_of
from tests.server.engine.models.loaders import Busy

if TYPE_CHECKING:
    import pytest


def test_each_drain_ends_when_its_own_version_has_finished() -> None:
    """In whatever order they began; requests that were admitted are answered."""
    drains, first, second = Drainer(PATIENCE_S), Busy("a"), Busy("b")
    for busy in (first, second):
        busy.run()
    closed = [drains.begin(busy.model) for busy in (first, second)]
    assert drains.of("b") == [closed[1]]
    second.let_go()
    assert closed[1].result(PATIENCE_S)
    assert not closed[0].done()
    assert not drains.join(0.0)
    first.let_go()
    assert drains.join(PATIENCE_S)
    for busy in (first, second):
        busy.call.wait()
        assert busy.call.response.model_name == busy.model.name


def test_a_version_that_does_not_finish_in_time_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits hears of it, and so does the log."""
    drains, busy = Drainer(0.0), Busy()
    busy.run()
    assert not drains.begin(busy.model).result(PATIENCE_S)
    assert "did not finish in time" in caplog.text
    busy.let_go()


def test_a_drain_that_fails_is_over_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """A bug must not leave anybody waiting."""
    session = doubling()

    def close() -> None:
        raise ZeroDivisionError

    session.close = close  # type: ignore[method-assign]  # the double's own
    drains = Drainer(PATIENCE_S)
    assert not drains.begin(model_of(session)).result(PATIENCE_S)
    assert "bug: a version could not be drained" in caplog.text
    assert not drains.of("m")


def test_a_storm_of_drains_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each keeps a session in memory."""
    monkeypatch.setattr(module, "_MAX_CONCURRENT", 1)
    drains, busy, begun = Drainer(PATIENCE_S), Busy(), threading.Event()
    busy.run()
    drains.begin(busy.model)

    def begin() -> bool:
        closed = drains.begin(model_of(doubling()))
        begun.set()
        return closed.result(PATIENCE_S)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(begin)
        assert not begun.wait(0.05)
        busy.let_go()
        assert other.result(PATIENCE_S)


def test_memory_is_given_back_once_large_versions_are_closed() -> None:
    """Not while one still drains, and not for small ones; on another thread, whatever the priority of this one."""
    threads: list[threading.Thread] = []
    drains, busy = Drainer(PATIENCE_S, lambda: threads.append(threading.current_thread())), Busy()
    assert drains.begin(model_of(doubling())).result(PATIENCE_S)
    assert [drains.has_memory_to_release] == [False]
    busy.model.info = info(runners=1, file_bytes=16 * 2**20)
    busy.run()
    closed = drains.begin(busy.model)
    assert [drains.has_memory_to_release] == [True]
    drains.release_memory_if_idle()
    assert not threads
    busy.let_go()
    assert closed.result(PATIENCE_S)
    assert drains.join(PATIENCE_S)
    eventually(lambda: not drains.of("m"), "nothing drains")
    drains.release_memory_if_idle()
    assert [drains.has_memory_to_release] == [False]
    (thread,) = threads
    assert thread is not threading.current_thread()
