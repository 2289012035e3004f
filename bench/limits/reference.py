"""The model in-process as a reference: CPU cost of rows with one thread, and the expected outputs. No server."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime as ort

from sardonyx_wire.messages import ModelInferResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.cases import Case

__all__ = ["ReferenceModel", "WrongAnswer"]

_WARM_UP_RUNS: Final = 5
_NUMPY: Final = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32}
# Kernels round differently by batch size and threads.
_TOLERANCE: Final = 1e-4


class WrongAnswer(RuntimeError):
    """The server's output differs from the model's own."""


class ReferenceModel:
    """A session of a case's model.

    Args:
        case: The case.
    """

    def __init__(self, case: Case) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(str(case.file), options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        self._row = case.row

    def cpu_s(self, rows: float, *, budget_s: float) -> float:
        """CPU seconds of one row in runs of ``rows`` rows, by the clock of this process. Blocks for the budget.

        Requires: no other thread of this process works.

        Args:
            rows: Mean batch size, at least 1; between two whole numbers the cost is taken on the line between theirs.
            budget_s: Time to spend.
        """
        lower, upper = max(1, math.floor(rows)), max(1, math.ceil(rows))
        if lower == upper:
            return self._run_for(lower, budget_s)[1] / lower
        run_lower_s, run_upper_s = (self._run_for(size, budget_s / 2)[1] for size in (lower, upper))
        return (run_lower_s + (run_upper_s - run_lower_s) * (rows - lower)) / rows

    def run_s(self, *, budget_s: float) -> float:
        """Mean seconds of a run of one row, by the clock on the wall. Blocks for the budget."""
        return self._run_for(1, budget_s)[0]

    def check(self, answer: bytes) -> None:
        """Compare the server's response with the model's own output.

        Raises:
            WrongAnswer: They differ beyond rounding.
        """
        response = ModelInferResponse.FromString(answer)
        served = {
            output.name: np.frombuffer(raw, _NUMPY[output.datatype]).reshape(tuple(output.shape))
            for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        for name, own in zip(self._names, self._session.run(self._names, dict(self._row)), strict=True):
            if name not in served or not np.allclose(served[name], own, rtol=_TOLERANCE, atol=_TOLERANCE):
                raise WrongAnswer(f"output {name!r}: expected {own}, got {served.get(name)}")

    def check_bytes(self, body: bytes) -> None:
        """The same for an answer that is the bytes of all outputs, one after the other.

        Raises:
            WrongAnswer: They differ beyond rounding.
        """
        results = dict(zip(self._names, self._session.run(self._names, dict(self._row)), strict=True))
        expected_bytes = sum(own.nbytes for own in results.values())
        if len(body) != expected_bytes:
            raise WrongAnswer(f"expected {expected_bytes} bytes of outputs, got {len(body)}")
        at = 0
        for name, own in results.items():
            served = np.frombuffer(body, own.dtype, count=own.size, offset=at).reshape(own.shape)
            if not np.allclose(served, own, rtol=_TOLERANCE, atol=_TOLERANCE):
                raise WrongAnswer(f"output {name!r}: expected {own}, got {served}")
            at += own.nbytes

    def _run_for(self, rows: int, budget_s: float) -> tuple[float, float]:
        """Seconds and CPU seconds of one run of ``rows`` rows, both means."""
        feeds: Mapping[str, np.ndarray[Any, Any]] = {
            name: np.repeat(array, rows, axis=0) for name, array in self._row.items()
        }
        run, names = self._session.run, self._names
        for _ in range(_WARM_UP_RUNS):
            run(names, feeds)
        runs, began_s, began_cpu_s = 0, time.perf_counter(), time.process_time()
        until_s = began_s + budget_s
        while runs == 0 or time.perf_counter() < until_s:
            run(names, feeds)
            runs += 1
        return (time.perf_counter() - began_s) / runs, (time.process_time() - began_cpu_s) / runs
