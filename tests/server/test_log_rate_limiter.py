"""The rate limit of log lines that callers can trigger."""

from __future__ import annotations

from sardonyx_server.log_rate_limiter import LogRateLimiter


def test_the_first_message_is_allowed_and_then_one_a_minute() -> None:
    """The interval starts with the message that was allowed, however often it is asked meanwhile."""
    now_s = [5.0]
    limiter = LogRateLimiter(clock=lambda: now_s[0])
    logged = []
    for now_s[0] in (5.0, 5.0, 64.9, 65.0, 65.1, 200.0, 259.0, 260.0):
        if limiter.allow():
            logged.append(now_s[0])
    assert logged == [5.0, 65.0, 200.0, 260.0]
