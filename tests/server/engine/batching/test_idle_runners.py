"""Which of the runners that wait is woken, by cores that the test names."""

from __future__ import annotations

import threading

import pytest

from sardonyx_server.engine.batching.idle_runners import UNKNOWN_CPU, IdleRunners, current_cpu
from tests.server.engine.doubles import PATIENCE_S

HERE, THERE, YONDER = 0, 1, 2
WAKER = "waker"


class Hall:
    """Runners that fell asleep one after the other, each on a core, and who was woken since."""

    def __init__(self, *cores: int, waker: int = HERE) -> None:
        self._cores = {WAKER: waker} | {f"runner-{number}": core for number, core in enumerate(cores)}
        self._lock = threading.Lock()
        self._idle = IdleRunners(self._lock, self._core)
        self._woken: list[int] = []
        self._one_woke = threading.Semaphore(0)
        self._threads = [
            threading.Thread(target=self._sleep, args=(number,), name=f"runner-{number}", daemon=True)
            for number in range(len(cores))
        ]
        for number, thread in enumerate(self._threads):
            thread.start()
            self._until_asleep(number + 1)

    def wake(self, count: int) -> set[int]:
        """Which runners are woken where so many are to be."""
        before = set(self._woken)
        with self._lock:
            self._idle.wake(count)
        for _ in range(min(count, len(self._cores) - 1 - len(before))):
            assert self._one_woke.acquire(timeout=PATIENCE_S)
        return set(self._woken) - before

    def close(self) -> None:
        """Wake those that still sleep."""
        with self._lock:
            self._idle.wake_all()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _core(self) -> int:
        return self._cores.get(threading.current_thread().name, self._cores[WAKER])

    def _sleep(self, number: int) -> None:
        with self._lock:
            self._idle.wait(None)
            self._woken.append(number)
        self._one_woke.release()

    def _until_asleep(self, count: int) -> None:
        pause = threading.Event()
        for _ in range(int(PATIENCE_S * 1000)):
            with self._lock:
                if len(self._idle._sleepers) == count:
                    return
            pause.wait(0.001)
        raise AssertionError("a runner did not come to wait")


@pytest.mark.parametrize(
    ("cores", "woken"),
    [
        ((THERE, THERE, THERE), 2),
        ((THERE, YONDER, HERE), 1),
        ((THERE, HERE, HERE), 0),
        ((HERE, HERE, HERE), 2),
        ((UNKNOWN_CPU, UNKNOWN_CPU, UNKNOWN_CPU), 2),
    ],
    ids=["all elsewhere", "the last of those elsewhere", "the only one elsewhere", "none elsewhere", "nobody knows"],
)
def test_the_last_to_fall_asleep_on_another_core_is_woken_first(cores: tuple[int, ...], woken: int) -> None:
    """On the core of the thread that wakes it, it would wait until that one is through."""
    hall = Hall(*cores)
    assert hall.wake(1) == {woken}
    hall.close()


def test_where_nobody_knows_cores_the_last_to_fall_asleep_is_woken_first() -> None:
    """Its caches are the warmest."""
    hall = Hall(UNKNOWN_CPU, UNKNOWN_CPU, UNKNOWN_CPU, waker=UNKNOWN_CPU)
    assert [hall.wake(1), hall.wake(1), hall.wake(1)] == [{2}, {1}, {0}]
    hall.close()


def test_of_several_those_elsewhere_come_before_those_here() -> None:
    """As many are woken as are asked for, wherever they are."""
    hall = Hall(THERE, HERE, YONDER, HERE)
    assert hall.wake(2) == {0, 2}
    assert hall.wake(1) == {3}
    assert hall.wake(5) == {1}
    hall.close()


def test_all_are_woken_and_then_there_is_nobody_to_wake() -> None:
    """As at the end of a model."""
    hall = Hall(HERE, THERE, HERE)
    hall.close()
    assert hall.wake(1) == set()


def test_a_wait_that_is_over_leaves_nobody_behind() -> None:
    """A wake that went to one who has gone would be lost to those who sleep."""
    lock = threading.Lock()
    idle = IdleRunners(lock, lambda: HERE)
    with lock:
        idle.wait(0.0)
        assert lock.locked()
        assert not idle._sleepers


def test_a_thread_is_on_one_of_the_cores_there_are() -> None:
    """Or nobody knows."""
    assert current_cpu() >= UNKNOWN_CPU
