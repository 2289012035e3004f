"""Threads that load say whether they gave way."""

from __future__ import annotations

import threading

from sardonyx_server.engine.priority import is_lowered, lower_priority, normal_priority


def test_a_thread_that_was_lowered_says_so_and_no_other_does() -> None:
    """In a thread of its own, since there is no way back."""
    told: list[bool] = []

    def load() -> None:
        normal = normal_priority()
        told.append(is_lowered())
        lower_priority()
        told.append(is_lowered())
        told.append(normal.submit(is_lowered).result())
        normal.shutdown()

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert told == [False, True, False]
    assert not is_lowered()
