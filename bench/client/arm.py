"""Arms whose subject is the caller: a process of its own calls a server in a closed loop and says how long it took."""

from __future__ import annotations

import json
from typing import Final

from bench.arms import Sample, grown
from bench.control import Child
from bench.load.result import LoadResult

__all__ = ["Caller"]

# The first calls only find out how many fill the time that is wanted.
_FIRST_CALLS_EACH: Final = 20
_CALIBRATION_S: Final = 0.5


class Caller:
    """A process that calls; see :class:`~bench.arms.Measured`.

    Args:
        name: For the report.
        process: Obeys a line of JSON with ``calls``; answers with ``seconds`` and ``cpu_s``.
        server: What is called.
        concurrency: Calls under way at once.
    """

    def __init__(self, name: str, process: Child, server: Child, *, concurrency: int) -> None:
        self.name = name
        self._process = process
        self._server = server
        self._concurrency = concurrency
        self._calls = concurrency

    def calibrate(self, seconds: float) -> None:
        """See :class:`~bench.arms.Measured`."""
        found = self._call(self._concurrency * _FIRST_CALLS_EACH)
        found = self._call(self._fill(found.rate, min(seconds, _CALIBRATION_S)))
        self._calls = self._fill(found.rate, seconds)

    def measure(self, *, each: bool) -> Sample:  # noqa: ARG002  # single latencies are not recorded here
        """See :class:`~bench.arms.Measured`."""
        before = self._server.figures()
        load = self._call(self._calls)
        return Sample(load=load, server=grown(self.name, self._server, before, load.requests))

    def _call(self, calls: int) -> LoadResult:
        """Raises ChildFailed where a call failed."""
        found = self._process.ask(json.dumps({"calls": calls}))
        return LoadResult(
            requests=calls,
            seconds=found["seconds"],
            cpu_s=found["cpu_s"],
            mean_s=self._concurrency * found["seconds"] / calls,  # a closed loop: each caller is always in a call
        )

    def _fill(self, rate: float, seconds: float) -> int:
        """Whole rounds of all callers."""
        return max(1, round(rate * seconds / self._concurrency)) * self._concurrency
