"""A real greedy queue in front of a model, in-process: requests arrive by the clock, and threads run them.

Unlike the simulation it has an operating system that schedules threads, an interpreter, and whatever load runs beside
it. It still has no transport.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from bench.limits.floor import Times

__all__ = ["run_greedy_queue"]

_WARM_UP_RUNS: Final = 10
# Until all threads wait for the first request.
_START_S: Final = 0.05

Tensors = Mapping[str, np.ndarray[Any, Any]]


def run_greedy_queue(
    file: Path, row: Tensors, arrivals_s: Sequence[float], *, runners: int, threads: int, max_rows: int
) -> Times:
    """How long each request was there, from when it was due to the end of its run. Blocks for as long as they come.

    Args:
        file: The model.
        row: Input name -> array [1, ...].
        arrivals_s: When each comes, ascending, from the beginning; one row each.
        runners: Runs at once on one session.
        threads: onnxruntime threads of each run.
        max_rows: Largest batch size.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    batches = [{name: np.repeat(array, rows, axis=0) for name, array in row.items()} for rows in range(1, max_rows + 1)]
    for _ in range(_WARM_UP_RUNS):
        session.run(names, batches[0])
    due_s = np.asarray(arrivals_s, float) + time.monotonic() + _START_S
    took_s = np.empty(len(due_s))
    lock = threading.Lock()
    first = 0

    def run() -> None:
        nonlocal first
        while True:
            with lock:
                begin, now_s = first, time.monotonic()
                if begin == len(due_s):
                    return
                rows = int(np.searchsorted(due_s[begin : begin + max_rows], now_s, side="right"))
                first += rows
            if rows:
                session.run(names, batches[rows - 1])
                took_s[begin : begin + rows] = time.monotonic() - due_s[begin : begin + rows]
            else:
                time.sleep(max(0.0, float(due_s[begin]) - now_s))

    workers = [threading.Thread(target=run, name=f"runner-{index}") for index in range(runners)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return took_s
