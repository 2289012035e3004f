"""A process that calls by one client; see ``bench.client.ways``.

    python -m bench.client.caller sync|async WAY CALLERS ADDRESS MODEL INPUTS.npz OUTPUT,OUTPUT STUBS

Says hello with a digest of its first answer, and obeys ``{"calls": N}``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Mapping

import numpy as np

from bench.client.closed_loop import by_tasks, by_threads
from bench.client.ways import ASYNC, SYNC, Arrays, Job
from bench.control import obey, say

__all__: list[str] = []


def call_by_threads(way: str, job: Job, threads: int) -> None:
    """Obey until the input ends."""
    with SYNC[way](job) as call:

        def answer(line: str) -> Mapping[str, object]:
            return by_threads(json.loads(line)["calls"], call, threads)

        obey({"digest": _digest(call())}, answer)


async def call_by_tasks(way: str, job: Job, tasks: int) -> None:
    """Obey until the input ends. The loop stands still between two lines: nothing is under way then."""
    async with ASYNC[way](job) as call:
        say({"digest": _digest(await call())})
        for line in sys.stdin:
            say(await by_tasks(json.loads(line)["calls"], call, tasks))


def _digest(outputs: Arrays) -> str:
    """Equal where names, dtypes, shapes and bytes are."""
    found = hashlib.sha256()
    for name, array in sorted(outputs.items()):
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def main() -> None:
    """Call as told."""
    kind, way, callers, address, model, inputs, outputs, stubs = sys.argv[1:]
    with np.load(inputs) as arrays:
        job = Job(
            address=address, model=model, inputs=dict(arrays.items()), outputs=tuple(outputs.split(",")), stubs=stubs
        )
    if kind == "sync":
        call_by_threads(way, job, int(callers))
    else:
        asyncio.run(call_by_tasks(way, job, int(callers)))


if __name__ == "__main__":
    main()
