"""A client process as the load generator of an arm: it calls a server in a closed loop."""

from __future__ import annotations

import json

from bench.control import Child
from bench.load.result import LoadResult, Streams
from sardonyx_server.load.loops import Target

__all__ = ["Callers"]


class Callers:
    """A process that calls; see :class:`~bench.load.result.Generator`.

    It knows its server and makes its messages itself, as a user of the client does.

    Args:
        name: For the report.
        process: Obeys a line of JSON with ``calls``; answers with ``seconds`` and ``cpu_s``.
    """

    def __init__(self, name: str, process: Child) -> None:
        self.name = name
        self._process = process

    def run(self, target: Target, streams: Streams, *, requests: int, record_each: bool) -> LoadResult:  # noqa: ARG002  # see above; single latencies are not recorded
        """Make ``requests`` calls. Raises ChildFailed if one failed."""
        found = self._process.ask(json.dumps({"calls": requests}))
        return LoadResult(
            requests=requests,
            seconds=found["seconds"],
            cpu_s=found["cpu_s"],
            # A closed loop: each caller is always in a call.
            mean_s=streams.concurrency * found["seconds"] / requests,
        )
