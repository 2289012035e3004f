"""Compressed requests and answers, seen on the wire between client and server."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from tests.e2e.bad_streams import STREAM
from tests.e2e.messages import encoded, infer_request
from tests.e2e.servers import CALL_TIMEOUT_S, INFER, TRANSPORTS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONLY_ONE: dict[str, Any] = {"model_control_mode": "explicit", "load_model": ("undeclared",)}
TENSOR_BYTES = 400_000
# A client that says it accepts no compressed messages: of grpc's algorithms only the first one, "identity".
ACCEPTS_NONE = (("grpc.compression_enabled_algorithms_bitset", 1),)


class Wire:
    """A relay on the way to a server, for one connection.

    Attributes:
        address: Where clients go.
        up_bytes: What they have sent.
        down_bytes: What the server has sent.
    """

    def __init__(self, server_address: str) -> None:
        host, _, port = server_address.rpartition(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._server = (host, int(port))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.up_bytes = 0
        self.down_bytes = 0

    def run(self) -> None:
        """Pass bytes on until one end closes."""
        client, _ = self._listener.accept()
        with self._listener, client, socket.create_connection(self._server) as server:
            back = threading.Thread(target=self._pass_down, args=(server, client))
            back.start()
            with suppress(OSError):  # One end is gone.
                while data := client.recv(65_536):
                    self.up_bytes += len(data)
                    server.sendall(data)
                server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _pass_down(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                self.down_bytes += len(data)
                client.sendall(data)


@contextmanager
def wire(server: Server, *options: tuple[str, Any]) -> Iterator[tuple[Wire, Any]]:
    """A relay, and a channel through it."""
    between = Wire(server.app.address)
    passing = threading.Thread(target=between.run)
    passing.start()
    with grpc.insecure_channel(between.address, options=[("grpc.use_local_subchannel_pool", 1), *options]) as channel:
        yield between, channel
    passing.join()


@pytest.fixture(scope="module", params=["none", "low", "medium", "high"])
def level(request: pytest.FixtureRequest) -> str:
    """Each value of the setting."""
    value: str = request.param
    return value


@pytest.fixture(scope="module", params=TRANSPORTS)
def compressing(request: pytest.FixtureRequest, models: Path, level: str) -> Iterator[Server]:
    """A server with that setting."""
    settings = {**ONLY_ONE, "grpc_infer_response_compression_level": level}
    with Server(models, request.param, **settings) as running:
        yield running


def zeros() -> bytes:
    """A request that shrinks to nothing, and whose answer does."""
    return encoded(infer_request("undeclared", x=np.zeros(TENSOR_BYTES // 4, np.float32)))


def ask(channel: Any, path: str, **more: Any) -> bytes:
    """Call, unary or in a stream."""
    more.setdefault("timeout", CALL_TIMEOUT_S)
    if path == STREAM:
        (answer,) = channel.stream_stream(path)(iter([zeros()]), **more)
    else:
        answer = channel.unary_unary(path)(zeros(), **more)
    answered: bytes = answer
    return answered


@pytest.mark.parametrize("path", [INFER, STREAM])
@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_answers_are_compressed_where_the_setting_says_so(
    compressing: Server, level: str, path: str, compression: Any
) -> None:
    """However the request came: it is the client's list of accepted encodings that counts, as with Triton."""
    plain = ask(compressing.channel, path)
    with wire(compressing) as (between, channel):
        assert ask(channel, path, compression=compression) == plain
    assert (between.up_bytes > TENSOR_BYTES) == (compression is None)
    assert (between.down_bytes > TENSOR_BYTES) == (level == "none")


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_a_client_that_accepts_no_compression_gets_none(compressing: Server, path: str) -> None:
    """Whatever the setting says."""
    plain = ask(compressing.channel, path)
    with wire(compressing, *ACCEPTS_NONE) as (between, channel):
        assert ask(channel, path) == plain
    assert between.down_bytes > TENSOR_BYTES


def test_compressed_failures_are_failures(compressing: Server) -> None:
    """A status has no message to compress."""
    with pytest.raises(grpc.RpcError) as caught:
        compressing.infer(infer_request("nobody", x=np.zeros(1, np.float32)), compression=grpc.Compression.Gzip)
    failure: Any = caught.value  # a grpc.Call too
    assert failure.code() is grpc.StatusCode.NOT_FOUND
    compressing.settle()
