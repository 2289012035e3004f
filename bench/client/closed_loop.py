"""The closed loop of a client process: a number of calls by several threads, or by several tasks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

__all__ = ["by_tasks", "by_threads"]


def by_threads(calls: int, call: Callable[[], object], threads: int) -> Mapping[str, object]:
    """Make calls. Blocks.

    Args:
        calls: Total number of calls.
        call: The call that each thread repeats.
        threads: Number of threads, the calling thread included.

    Returns:
        ``seconds`` and ``cpu_s`` of this process; or the ``problem``.
    """
    left = iter(range(calls))
    lock = threading.Lock()
    problems: list[Exception] = []

    def work() -> None:
        try:
            for _ in _locked(left, lock):
                call()
        except Exception as error:  # noqa: BLE001  # told to the harness, whatever it is
            problems.append(error)

    others = [threading.Thread(target=work) for _ in range(threads - 1)]
    cpu_s, began_s = time.process_time(), time.perf_counter()
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    return _found(began_s, cpu_s, problems)


async def by_tasks(calls: int, call: Callable[[], Awaitable[object]], tasks: int) -> Mapping[str, object]:
    """Make calls with several tasks. See :func:`by_threads`."""
    left = iter(range(calls))
    problems: list[Exception] = []

    async def work() -> None:
        try:
            for _ in left:
                await call()
        except Exception as error:  # noqa: BLE001  # as above
            problems.append(error)

    cpu_s, began_s = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return _found(began_s, cpu_s, problems)


def _locked(left: Iterator[int], lock: threading.Lock) -> Iterator[int]:
    """An iterator that several threads may share."""
    while True:
        with lock:
            number = next(left, None)
        if number is None:
            return
        yield number


def _found(began_s: float, cpu_s: float, problems: Sequence[Exception]) -> Mapping[str, object]:
    if problems:
        return {"problem": f"a call failed: {problems[0]!r}"}
    return {"seconds": time.perf_counter() - began_s, "cpu_s": time.process_time() - cpu_s}
