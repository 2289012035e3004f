"""What a thread has had of a core, as the system tells it."""

from __future__ import annotations

import sys
import threading

import pytest

from sardonyx_server.runtime.thread_cpu_time import thread_cpu_time


def test_a_thread_learns_what_it_has_had() -> None:
    """Neither goes back."""
    before = thread_cpu_time()
    after = thread_cpu_time()
    assert after.seconds >= before.seconds > 0
    assert after.voluntary_switches >= before.voluntary_switches


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_thread_that_waits_is_known_by_that() -> None:
    """For a lock, a device or another thread."""
    before = thread_cpu_time()
    threading.Event().wait(0.001)
    after = thread_cpu_time()
    assert after.voluntary_switches > before.voluntary_switches
