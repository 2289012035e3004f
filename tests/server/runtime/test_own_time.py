"""What a thread has had of a core, as the system tells it."""

from __future__ import annotations

import sys
import threading

import pytest

from sardonyx_server.runtime.own_time import own_time


def test_a_thread_learns_what_it_has_had() -> None:
    """Neither goes back."""
    before = own_time()
    after = own_time()
    assert after.seconds >= before.seconds > 0
    assert after.waits >= before.waits


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_thread_that_waits_is_known_by_that() -> None:
    """For a lock, a device or another thread."""
    before = own_time()
    threading.Event().wait(0.001)
    after = own_time()
    assert after.waits > before.waits
