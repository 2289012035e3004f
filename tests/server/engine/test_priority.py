"""Threads that load say whether they gave way; those that do little ask for short turns."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys
import threading
import time

import pytest

from sardonyx_server.engine.priority import (
    SHORT_SLICE_S,
    has_low_priority,
    lower_priority,
    normal_priority_executor,
    use_short_time_slices,
)

_SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
# Since then sched_getattr(2) tells of turns, too.
_KNOWS_TURNS = (6, 12)


def test_a_thread_that_was_lowered_says_so_and_no_other_does() -> None:
    """In a thread of its own, since there is no way back."""
    told: list[bool] = []

    def load() -> None:
        normal = normal_priority_executor()
        told.append(has_low_priority())
        lower_priority()
        told.append(has_low_priority())
        told.append(normal.submit(has_low_priority).result())
        normal.shutdown()

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert told == [False, True, False]
    assert not has_low_priority()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_a_thread_is_lowered_once() -> None:
    """The loader asks for it after each load: the second must have as much of a busy core as the first."""
    nice: list[int] = []

    def load() -> None:
        for _ in range(3):
            nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            lower_priority()

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    before, once, twice = nice
    assert once == twice == min(19, before + 15)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_a_thread_that_was_lowered_gets_on_where_others_always_want_its_core() -> None:
    """It has its small share: a server with more requests than it can answer must be able to take a new model."""
    core = {min(os.sched_getaffinity(0))}
    ran_s: list[float] = []

    def load() -> None:
        os.sched_setaffinity(threading.get_native_id(), core)
        lower_priority()
        end_s = time.monotonic() + 60
        while time.thread_time() < 0.01 and time.monotonic() < end_s:
            pass
        ran_s.append(time.thread_time())

    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            os.sched_setaffinity(busy.pid, core)
            thread = threading.Thread(target=load)
            thread.start()
            thread.join()
        finally:
            busy.kill()
    assert ran_s[0] >= 0.01


def _turn_ns_after(task: str, told: list[tuple[int, int, int]]) -> None:
    """Policy, nice value and turn of a thread, by the kernel; ``task`` is what it did before: "" or "asked"."""
    if task == "asked":
        use_short_time_slices()
    said = ctypes.create_string_buffer(56)
    assert ctypes.CDLL(None).syscall(_SCHED_GETATTR[platform.machine()], 0, said, len(said), 0) == 0
    _, policy, _, nice, _, turn_ns, _, _ = struct.unpack("=IIQiIQQQ", said.raw[:48])
    told.append((policy, nice, turn_ns))


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in _SCHED_GETATTR, reason="no such system call")
def test_a_thread_that_asks_for_short_turns_has_them_and_is_otherwise_as_before() -> None:
    """By the kernel's own word. Before Linux 6.12 there are none to have, and to ask for them does no harm."""
    told: list[tuple[int, int, int]] = []
    for task in ("", "asked"):
        thread = threading.Thread(target=_turn_ns_after, args=(task, told))
        thread.start()
        thread.join()
    (policy, nice, _), (policy_then, nice_then, turn_ns) = told
    assert (policy_then, nice_then) == (policy, nice)
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if release >= _KNOWS_TURNS and policy == os.SCHED_OTHER:
        assert turn_ns == round(SHORT_SLICE_S * 1e9)
