"""Streams of an event loop that end while somebody reads or sends. What goes over them is tested end to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sardonyx_client import AsyncClient, ClientClosed, Unavailable
from sardonyx_wire.http2.frames import FrameType
from tests.client.http2.peers import Peer, PeerConnection
from tests.client.http2.wire import OPENING, headers

if TYPE_CHECKING:
    from sardonyx_client import Result


def hold(peer: PeerConnection) -> None:
    """Take the stream, and answer nothing."""
    peer.greet()
    while True:
        peer.frame()


def test_closing_a_stream_ends_the_loop_that_reads_it() -> None:
    """As with threads: nobody cancelled the task that reads."""

    async def run(address: str) -> Result | None:
        async with AsyncClient(address) as client:
            stream = client.stream()
            reading = asyncio.create_task(anext(stream, None))
            await stream.send("m", x=[1])
            await stream.close()
            return await reading

    with Peer(hold) as peer:
        assert asyncio.run(run(peer.address)) is None


def test_closing_the_client_tells_who_reads_a_stream() -> None:
    """With a clear error."""

    async def run(address: str) -> None:
        client = AsyncClient(address)
        stream = client.stream()
        reading = asyncio.create_task(anext(stream))
        await stream.send("m", x=[1])
        await client.close()
        await reading

    with Peer(hold) as peer, pytest.raises(ClientClosed, match="the client was closed while the call was under way"):
        asyncio.run(run(peer.address))


def test_a_stream_that_has_ended_takes_no_more() -> None:
    """Reading it has said why."""

    def fail(peer: PeerConnection) -> None:
        peer.greet()
        stream_id = peer.until(FrameType.HEADERS)[2]
        peer.send(headers(stream_id, [*OPENING, ("grpc-status", "14"), ("grpc-message", "busy")], end=True))
        while True:
            peer.frame()

    async def run(address: str) -> None:
        async with AsyncClient(address) as client, client.stream() as stream:
            with pytest.raises(Unavailable, match="busy"):
                await anext(stream)
            with pytest.raises(ClientClosed, match="it has ended, and reading it says why"):
                await stream.send("m", x=[1])

    with Peer(fail) as peer:
        asyncio.run(run(peer.address))
