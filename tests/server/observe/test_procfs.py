"""What is read from the kernel's files, made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sardonyx_server.observe.procfs import CpuMeter, Memory, count_threads, read_memory
from tests.server.engine.doubles import HandClock

if TYPE_CHECKING:
    from pathlib import Path


def tick(proc: Path, *, busy: int, idle: int) -> None:
    """Write the file of ticks: user 1, the rest of ``busy`` in system; half of ``idle`` waits for disks."""
    (proc / "stat").write_text(f"cpu  1 0 {busy - 1} {idle // 2} {idle - idle // 2} 0 0 0 7 0\ncpu0 1 2 3\n")


def test_utilization_is_that_since_the_last_time(tmp_path: Path) -> None:
    """Guests are counted among the users already, so that they do not count twice."""
    clock = HandClock()
    tick(tmp_path, busy=100, idle=900)
    meter = CpuMeter(tmp_path, clock)
    tick(tmp_path, busy=130, idle=970)
    assert meter.utilization() == 0.3
    clock.now_s += 15
    tick(tmp_path, busy=230, idle=970)
    assert meter.utilization() == 1.0
    clock.now_s += 15
    tick(tmp_path, busy=230, idle=1070)
    assert meter.utilization() == 0.0


def test_two_scrapes_that_come_together_get_the_same_answer(tmp_path: Path) -> None:
    """Two collectors may ask in turn, and ticks are 10 ms each."""
    clock = HandClock()
    tick(tmp_path, busy=100, idle=900)
    meter = CpuMeter(tmp_path, clock)
    tick(tmp_path, busy=150, idle=950)
    first = meter.utilization()
    clock.now_s += 0.5
    tick(tmp_path, busy=151, idle=950)
    assert meter.utilization() == first == 0.5


def test_where_no_time_has_passed_nothing_was_busy(tmp_path: Path) -> None:
    """The first scrape may come at once; the series is there all the same."""
    tick(tmp_path, busy=100, idle=900)
    assert CpuMeter(tmp_path, HandClock()).utilization() == 0.0


def test_memory_in_use_is_what_is_not_available(tmp_path: Path) -> None:
    """Caches of files are available."""
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nHugePages_Total: 0\n")
    assert read_memory(tmp_path) == Memory(total_bytes=1000 * 1024, used_bytes=400 * 1024)


def test_threads_are_those_of_the_kernel(tmp_path: Path) -> None:
    """Native libraries start their own."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Name:\tpython\nThreads:\t17\nSigQ:\t0/1\n")
    assert count_threads(tmp_path) == 17


@pytest.mark.parametrize("text", [None, "", "cpu\n", "something else\n"])
def test_where_the_kernel_says_nothing_there_is_nothing(tmp_path: Path, text: str | None) -> None:
    """Other systems have no such files, or others."""
    if text is not None:
        (tmp_path / "stat").write_text(text)
        (tmp_path / "meminfo").write_text(text)
    assert CpuMeter(tmp_path).utilization() is None
    assert read_memory(tmp_path) is None
    assert count_threads(tmp_path) is None
