"""A whole server with TLS: every client and every service, over the one port there is."""

from __future__ import annotations

import asyncio
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from sardonyx_client import TLS, AsyncClient, Client, Unavailable
from sardonyx_server.errors import SettingsError
from sardonyx_wire.messages import ModelInferResponse
from tests.certificates import Identity, TestAuthority, needs_openssl
from tests.e2e.memory import NEEDS_POSIX_MEMORY, regions
from tests.e2e.messages import arrays_of, encoded, gate_request
from tests.e2e.servers import ALLOW_ALL, TRANSPORTS, Server, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sardonyx_client import CallRecord

pytestmark = needs_openssl

BOUND_S = 60.0


@dataclass(frozen=True, slots=True)
class Files:
    """Of one authority: the server's certificate, and a caller's."""

    authority: TestAuthority
    server: Identity
    caller: Identity

    @property
    def settings(self) -> dict[str, Any]:
        """For the server."""
        return {
            "grpc_use_ssl_mutual": True,
            "grpc_server_cert": self.server.certificate,
            "grpc_server_key": self.server.key,
            "grpc_root_cert": self.authority.certificate,
        }

    @property
    def credentials(self) -> Any:
        """For callers with grpcio."""
        return grpc.ssl_channel_credentials(self.authority.certificate.read_bytes(), *self.caller.pem)

    @property
    def tls(self) -> TLS:
        """For callers with our client."""
        return TLS(ca=self.authority.certificate, certificate=self.caller.certificate, key=self.caller.key)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Made once."""
    authority = TestAuthority(tmp_path_factory.mktemp("certificates"))
    return Files(authority, authority.identity("server"), authority.identity("caller"))


@pytest.fixture(scope="module", params=TRANSPORTS)
def secured(request: pytest.FixtureRequest, models: Path, files: Files) -> Iterator[Server]:
    """A server that wants certificates of its callers; it outlives the test."""
    with Server(models, request.param, credentials=files.credentials, **files.settings, **ALLOW_ALL) as running:
        yield running


def test_all_rpcs_go_over_it(secured: Server) -> None:
    """Of the service itself: those of the lane, and those that grpcio's server answers behind it."""
    secured.assert_well()
    assert secured.call("ServerMetadata").name == "sardonyx"
    assert {each.name for each in secured.call("RepositoryIndex").models} >= {"affine", "gate"}
    assert secured.call("ModelStatistics").model_stats


def test_health_and_reflection_go_over_it(secured: Server) -> None:
    """A watch that stays open, and a list of services."""
    watch = secured.channel.unary_stream("/grpc.health.v1.Health/Watch")(encoded(HealthCheckRequest()), timeout=BOUND_S)
    assert HealthCheckResponse.FromString(next(watch)).status == HealthCheckResponse.SERVING
    watch.cancel()
    ask = ServerReflectionRequest(list_services="")
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    (answer,) = secured.channel.stream_stream(path)(iter([encoded(ask)]), timeout=BOUND_S)
    listed = ServerReflectionResponse.FromString(answer).list_services_response.service
    assert "inference.GRPCInferenceService" in {each.name for each in listed}


def test_our_clients_go_over_it(secured: Server, files: Files) -> None:
    """Alone, several at once, as a stream; for asyncio as well."""
    x = np.ones((1, 4), np.float32)
    with Client(secured.app.address, tls=files.tls, timeout_s=BOUND_S) as client:
        expected = client.infer("affine", x=x)["y"]
        with client.stream(timeout_s=BOUND_S) as stream:
            for _ in range(3):
                stream.send("affine", x=x)
            stream.done_sending()
            assert [answer["y"].tolist() for answer in stream] == [expected.tolist()] * 3

    async def ask() -> Any:
        async with AsyncClient(secured.app.address, tls=files.tls, timeout_s=BOUND_S) as client:
            return (await client.infer("affine", x=x))["y"]

    np.testing.assert_array_equal(asyncio.run(ask()), expected)


def test_a_client_without_certificate_is_refused(secured: Server, files: Files) -> None:
    """In the handshake: the server has not heard its call."""
    with (
        Client(secured.app.address, tls=TLS(ca=files.authority.certificate), timeout_s=BOUND_S) as client,
        pytest.raises(Unavailable),
    ):
        client.infer("affine", x=np.ones((1, 4), np.float32))
    secured.assert_well()


def test_a_plain_client_is_told(secured: Server) -> None:
    """What it lacks, as far as core lets us say it."""
    with Client(secured.app.address, timeout_s=BOUND_S) as client, pytest.raises(Unavailable) as raised:
        client.infer("affine", x=np.ones((1, 4), np.float32))
    if secured.transport == "lane":
        assert "without TLS" in raised.value.message


@NEEDS_POSIX_MEMORY
def test_shared_memory_is_used_beside_it(secured: Server, files: Files) -> None:
    """The client proves that it is on this machine as it does without TLS: tensors take the short way."""
    x = np.arange(50_000, dtype=np.float32)[np.newaxis]
    records: list[CallRecord] = []
    with Client(secured.app.address, tls=files.tls, timeout_s=BOUND_S, on_call=records.append) as client:
        for _ in range(3):
            np.testing.assert_array_equal(client.infer("wide", x=x)["y"], x)
    # More than its name is not sent of the input, and soon nothing but that of the output.
    assert [record.request_bytes < 1000 for record in records if record.rpc == "ModelInfer"] == [True] * 3
    eventually(lambda: regions(secured) == {}, "it is forgotten")


def test_tritonclient_goes_over_it(secured: Server, files: Files) -> None:
    """Unmodified: a call and a stream."""
    triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
    with triton.InferenceServerClient(
        secured.app.address,
        ssl=True,
        root_certificates=str(files.authority.certificate),
        private_key=str(files.caller.key),
        certificate_chain=str(files.caller.certificate),
    ) as client:
        assert client.is_server_ready()
        x = triton.InferInput("x", [1, 4], "FP32")
        x.set_data_from_numpy(np.ones((1, 4), np.float32))
        y = client.infer("affine", [x]).as_numpy("y")
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("affine", [x])
        result, error = answers.get(timeout=BOUND_S)
        assert error is None
        np.testing.assert_array_equal(result.as_numpy("y"), y)
        client.stop_stream()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stop_waits_for_what_runs(models: Path, files: Files, transport: str) -> None:
    """And what is answered last gets through."""
    finished: list[bool] = []
    settings = {**files.settings, "model_control_mode": "explicit", "load_model": ("gate",)}
    with Server(models, transport, credentials=files.credentials, **settings) as own:
        with own.holding(gate_request()) as hold:
            waiting = [own.start_infer(gate_request([[k, k]])) for k in range(5)]
            eventually(lambda: own.model("gate").queue.rows == 5, "five requests wait")
            stopper = threading.Thread(target=lambda: finished.append(own.stop(BOUND_S)))
            stopper.start()
            eventually(lambda: not own.app._is_ready(), "readiness is off")
            hold.release()
            for k, call in enumerate(waiting):
                y = arrays_of(ModelInferResponse.FromString(call.result()))["y"]
                np.testing.assert_array_equal(y, [[k + 0.5, k + 0.5]])
        stopper.join(BOUND_S)
    assert finished == [True]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_files_that_cannot_be_used_end_it_before_models_load(models: Path, files: Files, transport: str) -> None:
    """Whoever speaks TLS in the end."""
    settings = {**files.settings, "grpc_server_key": files.caller.key}
    with pytest.raises(SettingsError, match="is not the key of the first certificate in grpc_server_cert"):
        Server(models, transport, **settings)
