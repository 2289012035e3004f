"""Who gets a core first while an open loop runs, and that it is taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bench.placement import punctual

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="policies of the scheduler are Linux's")


@contextmanager
def idle_process() -> Iterator[int]:
    """A process that waits for the end of its input."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as one:
        yield one.pid


def test_the_generator_has_a_core_at_once_or_else_the_server_gives_way() -> None:
    """Which of them is the system's to say; never both, and afterwards the generator is as before."""
    with idle_process() as generator, idle_process() as server:
        with punctual([generator], [server]):
            policies = os.sched_getscheduler(generator), os.sched_getscheduler(server)
        assert policies in {(os.SCHED_FIFO, os.SCHED_OTHER), (os.SCHED_OTHER, os.SCHED_IDLE)}
        assert os.sched_getscheduler(generator) == os.SCHED_OTHER


def test_a_process_that_has_ended_is_passed_over() -> None:
    """The others are still set."""
    with idle_process() as ended:
        pass
    with idle_process() as generator, punctual([ended, generator], []):
        assert os.sched_getscheduler(generator) in {os.SCHED_FIFO, os.SCHED_OTHER}
