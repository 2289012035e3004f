"""One process of the project's own load generator: some connections, a closed loop on each of their streams.

Reads its job as a line of JSON, connects, says so, waits for a line, runs, and prints what it found. The request is
serialised beforehand and answers are not parsed, only their length is compared.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc

__all__: list[str] = []

_CONNECT_TIMEOUT_S: Final = 10.0
_OPTIONS: Final = (
    # Channels to one address share a connection otherwise.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job; the keys are those that ``bench.load.own`` writes.

    Returns:
        start_s and end_s on the monotonic clock, cpu_s between them, latencies_s.

    Raises:
        ExceptionGroup: Requests failed, or had answers of another length.
        TimeoutError: No connection.
    """
    channels = [grpc.aio.insecure_channel(job["address"], options=_OPTIONS) for _ in range(job["connections"])]
    async with asyncio.timeout(_CONNECT_TIMEOUT_S):
        for channel in channels:
            await channel.channel_ready()
    print(json.dumps({"connected": len(channels)}), flush=True)
    sys.stdin.readline()
    request = Path(job["body"]).read_bytes()  # noqa: ASYNC240  # nothing else runs yet
    left = iter(range(job["requests"]))
    latencies_s: list[float] = []
    cpu_s, start_s = time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for channel in channels:
            for _ in range(job["streams"]):
                group.create_task(_stream(channel, job["method"], request, job["answer_bytes"], left, latencies_s))
    found = {
        "start_s": start_s,
        "end_s": time.monotonic(),
        "cpu_s": time.process_time() - cpu_s,
        "latencies_s": latencies_s,
    }
    for channel in channels:
        await channel.close()
    return found


async def _stream(
    channel: grpc.aio.Channel,
    method: str,
    request: bytes,
    answer_bytes: int,
    left: Iterator[int],
    latencies_s: list[float],
) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    for _ in left:
        began_s = time.perf_counter()
        answer = await call(request)
        latencies_s.append(time.perf_counter() - began_s)
        if len(answer) != answer_bytes:
            raise ValueError(f"an answer of {len(answer)} bytes, expected {answer_bytes}")


def main() -> None:
    """Do the job that stands on the first line of the input."""
    try:
        print(json.dumps(asyncio.run(run(json.loads(sys.stdin.readline())))), flush=True)
    except TimeoutError:
        print(json.dumps({"problem": f"no connection within {_CONNECT_TIMEOUT_S:g} s"}), flush=True)
    except ExceptionGroup as errors:
        print(json.dumps({"problem": f"a request failed: {errors.exceptions[0]}"}), flush=True)


if __name__ == "__main__":
    main()
