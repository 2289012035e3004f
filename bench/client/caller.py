"""A process that calls a server through one client; see ``bench.client.clients``.

    python -m bench.client.caller sync|async CLIENT CALLERS ADDRESS MODEL INPUTS.npz OUTPUT,OUTPUT STUBS

Its greeting has a digest of its first result. It executes the command ``{"calls": N}``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Mapping

import numpy as np

from bench.client.clients import ASYNC, SYNC, Arrays, CallSpec
from bench.client.closed_loop import by_tasks, by_threads
from bench.control import send_line, serve_commands

__all__: list[str] = []


def call_by_threads(client: str, spec: CallSpec, threads: int) -> None:
    """Execute commands until the input ends."""
    with SYNC[client](spec) as call:

        def answer(line: str) -> Mapping[str, object]:
            return by_threads(json.loads(line)["calls"], call, threads)

        serve_commands({"digest": _digest(call())}, answer)


async def call_by_tasks(client: str, spec: CallSpec, tasks: int) -> None:
    """Execute commands until the input ends. The loop blocks between two lines, when no call is in flight."""
    async with ASYNC[client](spec) as call:
        send_line({"digest": _digest(await call())})
        for line in sys.stdin:
            send_line(await by_tasks(json.loads(line)["calls"], call, tasks))


def _digest(outputs: Arrays) -> str:
    """A digest of names, dtypes, shapes and bytes."""
    found = hashlib.sha256()
    for name, array in sorted(outputs.items()):
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def main() -> None:
    """Parse the arguments, and execute commands."""
    kind, client, callers, address, model, inputs, outputs, stubs = sys.argv[1:]
    with np.load(inputs) as arrays:
        spec = CallSpec(
            address=address, model=model, inputs=dict(arrays.items()), outputs=tuple(outputs.split(",")), stubs=stubs
        )
    if kind == "sync":
        call_by_threads(client, spec, int(callers))
    else:
        asyncio.run(call_by_tasks(client, spec, int(callers)))


if __name__ == "__main__":
    main()
