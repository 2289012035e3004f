"""Opens streams, sends one request on each, and keeps them open and idle until the input ends.

python -m bench.load.idle_streams ADDRESS METHOD FILE STREAMS CONNECTIONS
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

import grpc

from bench.control import serve_commands

__all__: list[str] = []

_TIMEOUT_S: Final = 60.0
# Channels to one address share a connection otherwise.
_OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1),)

Stream = grpc.aio.StreamStreamCall[bytes, bytes]


async def hold(address: str, method: str, message: bytes, *, streams: int, connections: int) -> None:
    """Open them and wait. Blocks the loop: nothing is to be done while they are idle.

    Raises:
        EOFError: A stream was ended by the server.
        grpc.RpcError: It failed.
        TimeoutError: It had no answer.
    """
    channels = [grpc.aio.insecure_channel(address, options=_OPTIONS) for _ in range(connections)]
    async with asyncio.timeout(_TIMEOUT_S):
        held = [await _open(channels[number % connections], method, message) for number in range(streams)]
    serve_commands({"address": address, "streams": len(held)}, lambda _: {})
    for stream in held:
        stream.cancel()
    for channel in channels:
        await channel.close()


async def _open(channel: grpc.aio.Channel, method: str, message: bytes) -> Stream:
    call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
    stream = call()
    await stream.write(message)
    if await stream.read() is grpc.aio.EOF:
        raise EOFError(f"a stream was ended: {await stream.code()} {await stream.details()}")
    return stream


def main() -> None:
    """Hold streams as the arguments say."""
    address, method, file, streams, connections = sys.argv[1:]
    message = Path(file).read_bytes()
    asyncio.run(hold(address, method, message, streams=int(streams), connections=int(connections)))


if __name__ == "__main__":
    main()
