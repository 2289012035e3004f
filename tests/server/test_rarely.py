"""Lines of the log that many callers can cause."""

from __future__ import annotations

from sardonyx_server.rarely import Rarely


def test_it_is_said_at_once_and_then_once_a_minute() -> None:
    """However often it is asked meanwhile; the minute begins when it was said."""
    now_s = [5.0]
    rarely = Rarely(clock=lambda: now_s[0])
    said = []
    for now_s[0] in (5.0, 5.0, 64.9, 65.0, 65.1, 200.0, 259.0, 260.0):
        if rarely.due():
            said.append(now_s[0])
    assert said == [5.0, 65.0, 200.0, 260.0]
