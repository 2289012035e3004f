"""Both transports do the same: one contract, for both clients, against servers of grpcio's two kinds."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import TYPE_CHECKING, Any, Self

import grpc
import numpy as np
import pytest

from sardonyx_client import AsyncClient, Client, ClientClosed, ResourceExhausted, Retry, Unavailable
from sardonyx_wire.messages import METHODS, ModelInferRequest
from tests.client.servers import NOWHERE, TinyServer, echo, refuse
from tests.client.waiting import BOUND_S, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Any]

PATH = METHODS["ModelInfer"].path


class AioServer:
    """An echo on grpc.aio, on a thread of its own."""

    def __init__(self) -> None:
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(BOUND_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(BOUND_S)
        self._loop.close()

    async def _serve(self) -> None:
        async def infer(message: bytes, context: Any) -> bytes:
            return echo(ModelInferRequest.FromString(message), context).SerializeToString()

        handlers: dict[str, Any] = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(PATH.split("/")[1], handlers)])
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self._up.set()
        await self._over.wait()
        await server.stop(None)


@pytest.mark.parametrize("kind", [TinyServer, AioServer])
@pytest.mark.parametrize("elements", [3, 200_000])
def test_arrays_go_in_and_come_out(make: Make, kind: Any, elements: int) -> None:
    """Small and large, several times on one connection, as views that cannot be written to."""
    x = np.arange(elements, dtype=np.float32)
    with kind(**{"ModelInfer": echo} if kind is TinyServer else {}) as server, make(server.address) as client:
        for _ in range(3):
            found = client.infer("m", {"x": x, "z": np.zeros((0, 4))})
            np.testing.assert_array_equal(found["x"], x)
            assert (found["z"].shape, found["x"].flags.writeable) == ((0, 4), False)


def test_metadata_arrive_alike(make: Make) -> None:
    """Text and bytes; what the HTTP/2 transport does not take goes by grpcio's channel."""
    metadata = {"a": "b c", "raw-bin": b"\x00\xff,\x80", "empty": "", "authorization": "Bearer t"}
    with TinyServer(ModelInfer=echo) as server, make(server.address, metadata=metadata) as client:
        client.infer("m", x=[1])
    sent = dict(server.calls[0].invocation_metadata)
    assert {name: sent[name] for name in metadata} == metadata
    with TinyServer(ModelInfer=echo) as server, make(server.address, metadata={"a": " b"}) as client:
        client.infer("m", x=[1])
    assert dict(server.calls[0].invocation_metadata)["a"].strip() == "b"


def test_a_status_arrives_alike(make: Make) -> None:
    """Text of any language, and metadata behind it."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("grpc-status-details-bin", bytes(range(256))),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "größer als 100 %\n東京")

    with TinyServer(ModelInfer=answer) as server, make(server.address) as client:
        with pytest.raises(Exception, match="größer als 100 %\n東京") as raised:
            client.infer("m")
        cause: Any = raised.value.__cause__
        trailing = dict(tuple(cause.trailing_metadata()))
    assert trailing["grpc-status-details-bin"] == bytes(range(256))


@pytest.mark.parametrize("attempts", [2, 3])
def test_there_are_as_many_attempts_as_were_asked_for(make: Make, attempts: int) -> None:
    """The first counts."""
    busy = refuse(grpc.StatusCode.UNAVAILABLE, "busy")
    with (
        TinyServer(ModelInfer=busy) as server,
        make(server.address, retry=Retry(max_attempts=attempts)) as client,
        pytest.raises(Unavailable, match="busy"),
    ):
        client.infer("m")
    assert len(server.calls) == attempts


def test_a_server_that_comes_later_is_found(make: Make) -> None:
    """A client outlives its server. A channel looks for it ever more rarely, so not every call finds it at once."""

    def finds() -> bool:
        try:
            return bool(client.infer("m", x=[1])["x"][0] == 1)
        except Unavailable:
            return False

    with TinyServer(ModelInfer=echo) as server, make(server.address) as client:
        client.infer("m", x=[1])
        server.__exit__()
        with pytest.raises(Unavailable):
            client.infer("m", x=[1])
        port = int(server.address.rpartition(":")[2])
        with TinyServer(port=port, ModelInfer=echo):
            until(finds)


def test_the_http2_transport_finds_a_server_that_comes_later_at_the_first_call(make_http2: Make) -> None:
    """It looks each time that it is asked."""
    with TinyServer(ModelInfer=echo) as server, make_http2(server.address) as client:
        client.infer("m", x=[1])
        server.__exit__()
        with pytest.raises(Unavailable):
            client.infer("m", x=[1])
        with TinyServer(port=int(server.address.rpartition(":")[2]), ModelInfer=echo):
            assert client.infer("m", x=[1])["x"][0] == 1


def test_messages_have_the_clients_limit(make: Make) -> None:
    """Both ways."""
    with TinyServer(ModelInfer=echo) as server, make(server.address, max_message_bytes=500) as client:
        client.infer("m", x=np.zeros(400, np.uint8))
        with pytest.raises(ResourceExhausted, match=r"(?i)sent message larger than max"):
            client.infer("m", x=np.zeros(501, np.uint8))

    def answer(request: Any, context: grpc.ServicerContext) -> bytes:
        return bytes(501)

    with (
        TinyServer(ModelInfer=answer) as server,
        make(server.address, max_message_bytes=500) as client,
        pytest.raises(ResourceExhausted, match="501"),
    ):
        client.infer("m")


def test_no_server_is_unavailable(make: Make) -> None:
    """At once."""
    with make(NOWHERE, retry=None) as client, pytest.raises(Unavailable, match=r"[Cc]onnection refused"):
        client.infer("m")


def test_answers_may_be_compressed(make: Make) -> None:
    """Where the server likes to."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        context.set_compression(grpc.Compression.Gzip)
        return echo(request, context)

    x = np.zeros(20_000, np.float32)
    with TinyServer(ModelInfer=answer) as server, make(server.address) as client:
        np.testing.assert_array_equal(client.infer("m", x=x)["x"], x)


def test_a_unix_socket_is_a_server(make: Make, tmp_path: Path) -> None:
    """Named as grpc names it."""
    target = f"unix:{os.path.relpath(tmp_path)}/s"
    with TinyServer(place=target, ModelInfer=echo) as server, make(target) as client:
        assert client.infer("m", x=[5])["x"][0] == 5
    assert server.calls


@pytest.mark.parametrize("transport", ["auto", "grpcio"])
def test_a_task_that_is_cancelled_cancels_its_call(transport: Any) -> None:
    """The server sees it; others go on."""
    entered, cancelled = threading.Event(), threading.Event()

    def answer(request: ModelInferRequest, context: grpc.ServicerContext) -> Any:
        if request.id == "slow":
            context.add_callback(cancelled.set)
            entered.set()
            cancelled.wait(BOUND_S)
        return echo(request, context)

    async def run(address: str) -> None:
        async with AsyncClient(address, transport=transport) as client:
            slow = asyncio.create_task(client.infer("m", x=[1], request_id="slow"))
            assert await asyncio.to_thread(entered.wait, BOUND_S)
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            assert await asyncio.to_thread(cancelled.wait, BOUND_S)
            results = await asyncio.gather(*(client.infer("m", x=[number]) for number in range(50)))
            assert [int(result["x"][0]) for result in results] == list(range(50))

    with TinyServer(ModelInfer=answer) as server:
        asyncio.run(run(server.address))


@pytest.mark.parametrize("transport", ["auto", "grpcio"])
def test_more_threads_than_connections_share_a_client(transport: Any) -> None:
    """Each gets its own answer."""
    with TinyServer(ModelInfer=echo) as server, Client(server.address, transport=transport) as client:
        together = threading.Barrier(80)
        answers: dict[int, int] = {}

        def ask(number: int) -> None:
            together.wait(BOUND_S)
            answers[number] = int(client.infer("m", x=[number])["x"][0])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: number for number in range(80)}


@pytest.mark.parametrize("transport", ["auto", "grpcio"])
def test_a_client_of_another_event_loop_says_so(transport: Any) -> None:
    """Each asyncio.run has a loop of its own, and connections belong to the one in which they were made."""
    with TinyServer(ModelInfer=echo) as server:
        client = AsyncClient(server.address, transport=transport)

        async def ask() -> Any:
            return await client.infer("m", x=[5])

        with asyncio.Runner() as first, asyncio.Runner() as second:
            assert first.run(ask())["x"].tolist() == [5]
            with pytest.raises(ClientClosed, match=r"^the client belongs to the event loop in which it was first used"):
                second.run(ask())
            assert first.run(ask())["x"].tolist() == [5]
            first.run(client.close())


def test_a_client_that_nobody_closed_goes_quietly() -> None:
    """Without a warning of sockets left open: warnings are errors here."""
    with TinyServer(ModelInfer=echo) as server:
        client = Client(server.address)
        client.infer("m", x=[1])
        del client
        gc.collect()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_leaves_the_parents_connections_alone() -> None:
    """Also where it drops the client that it inherited, and closes its copies of the sockets."""
    with TinyServer(ModelInfer=echo) as server:
        client = Client(server.address)
        client.infer("m", x=[1])
        connection = client._transport._http2_channel._idle[0]  # type: ignore[union-attr]  # it has one
        child = os.fork()
        if not child:
            client._transport._http2_channel = None
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.infer("m", x=[1])["x"][0] == 1
        assert connection.reusable
        client.close()
