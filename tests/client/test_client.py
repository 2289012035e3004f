"""The synchronous client against a real gRPC server that answers as each test wishes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sardonyx_client import (
    BadResponse,
    Client,
    ClientError,
    Coalesce,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ServerInfo,
    Unavailable,
    Unimplemented,
)
from sardonyx_client._timeout import CLIENT_DEFAULT, Timeout
from sardonyx_wire.messages import (
    ModelConfigResponse,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from sardonyx_wire.tensors import TensorSpec
from tests.client.servers import NOWHERE, TinyServer, echo, refuse, say

ROOT = Path(__file__).parents[2]


class TestInfer:
    """One request, one answer."""

    def test_arrays_go_in_and_come_out(self) -> None:
        """From the mapping and by name; the result says what ran."""
        with TinyServer(ModelInfer=echo) as server, Client(server.address) as client:
            x = np.arange(6, dtype=np.float32).reshape(2, 3)
            result = client.infer("m", {"a:0": x}, text=["é", "b"], version=3, request_id="r")
        assert (result.model_name, result.model_version, result.request_id) == ("m", "3", "r")
        np.testing.assert_array_equal(result["a:0"], x)
        assert result.text("text").tolist() == ["é", "b"]
        assert not result["a:0"].flags.writeable

    def test_messages_beyond_4_mib_pass_both_ways(self) -> None:
        """The server's limit decides, not grpc's default."""
        x = np.zeros(2 * 1024 * 1024, np.uint8)

        def answer(request: ModelInferRequest, context: grpc.ServicerContext) -> ModelInferResponse:
            response = ModelInferResponse(raw_output_contents=[bytes(5 * 1024 * 1024)])
            response.outputs.add(name="y", datatype="UINT8", shape=[5 * 1024 * 1024])
            return response

        with TinyServer(ModelInfer=answer) as server, Client(server.address) as client:
            assert client.infer("m", x=x)["y"].nbytes == 5 * 1024 * 1024

    def test_options_reach_the_server(self) -> None:
        """Requested outputs and parameters."""
        seen: list[ModelInferRequest] = []

        def answer(request: ModelInferRequest, context: grpc.ServicerContext) -> ModelInferResponse:
            seen.append(request)
            return ModelInferResponse()

        with TinyServer(ModelInfer=answer) as server, Client(server.address) as client:
            client.infer("m", outputs=["b", "a"], parameters={"priority": 1})
        assert [output.name for output in seen[0].outputs] == ["b", "a"]
        assert seen[0].parameters["priority"].int64_param == 1

    def test_an_input_given_twice_is_refused(self) -> None:
        """Neither of the two wins silently."""
        with Client(NOWHERE) as client, pytest.raises(InvalidArgument) as caught:
            client.infer("m", {"x": 1}, x=2)
        assert caught.value.message == "input 'x' is given twice: in the mapping and by name"

    def test_arguments_of_another_kind_are_refused_by_name(self) -> None:
        """Before anything is sent: a text as outputs would be its letters, an array has no name."""
        wrong: Any = [
            ({"outputs": "label"}, "outputs: expected a list of names, got the text 'label': write ['label']"),
            ({"request_id": 5}, "request_id: expected str, got int"),
            (
                {"inputs": np.ones((1, 4))},
                "inputs: expected a mapping from names to arrays, got ndarray; inputs can also be given by ",
            ),
        ]
        for coalesce in (None, Coalesce()):
            with Client(NOWHERE, coalesce=coalesce) as client:
                for arguments, text in wrong:
                    inputs = arguments.pop("inputs", {"X": [[1.0]]})
                    with pytest.raises(InvalidArgument) as error:
                        client.infer("m", inputs, **arguments)
                    assert error.value.message.startswith(text)
                    arguments["inputs"] = inputs

    def test_errors_of_the_server_keep_their_text(self) -> None:
        """And become the class of their status."""
        text = "model 'm' is not known"
        with (
            TinyServer(ModelInfer=refuse(grpc.StatusCode.NOT_FOUND, text)) as server,
            Client(server.address) as client,
            pytest.raises(NotFound) as caught,
        ):
            client.infer("m")
        assert (caught.value.message, caught.value.code) == (text, grpc.StatusCode.NOT_FOUND)
        assert isinstance(caught.value.__cause__, grpc.RpcError)

    def test_bytes_that_are_no_answer_are_a_bad_response(self) -> None:
        """Not a status of grpc's own making."""
        with (
            TinyServer(ModelInfer=say(b"\xff")) as server,
            Client(server.address) as client,
            pytest.raises(BadResponse),
        ):
            client.infer("m")

    def test_no_server_is_unavailable(self) -> None:
        """At once, not after the time-out."""
        with Client(NOWHERE) as client, pytest.raises(Unavailable):
            client.infer("m")

    def test_threads_share_a_client(self) -> None:
        """Each gets its own answer."""
        with TinyServer(ModelInfer=echo) as server, Client(server.address) as client:
            answers: dict[int, int] = {}

            def ask(number: int) -> None:
                answers[number] = int(client.infer("m", x=[number])["x"][0])

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert answers == {number: number for number in range(8)}


class TestTimeAndMetadata:
    """Deadlines and what goes with every call."""

    @pytest.mark.parametrize(("own", "call"), [(60.0, 0.05), (0.05, CLIENT_DEFAULT)])
    def test_the_deadline_of_the_call_or_of_the_client_ends_it(self, own: float, call: Timeout) -> None:
        """A server that never answers holds nobody."""
        release = threading.Event()

        def answer(request: ModelInferRequest, context: grpc.ServicerContext) -> ModelInferResponse:
            release.wait(60)
            return ModelInferResponse()

        with TinyServer(ModelInfer=answer) as server, Client(server.address, timeout_s=own) as client:
            with pytest.raises(DeadlineExceeded) as caught:
                client.infer("m", timeout_s=call)
            release.set()
            assert caught.value.message == f"ModelInfer on {server.address} gave no answer within 0.05 s"

    @pytest.mark.parametrize(("timeout_s", "bounded"), [(math.inf, False), (30.0, True)])
    def test_infinity_means_no_deadline(self, timeout_s: float, bounded: bool) -> None:
        """The server sees none."""
        seen: list[bool] = []

        def answer(request: ModelInferRequest, context: grpc.ServicerContext) -> ModelInferResponse:
            seen.append(context.time_remaining() < 60.0)
            return ModelInferResponse()

        with TinyServer(ModelInfer=answer) as server, Client(server.address, timeout_s=timeout_s) as client:
            client.infer("m")
        assert seen == [bounded]

    def test_metadata_goes_with_every_call(self) -> None:
        """Such as credentials."""
        server = TinyServer(ModelInfer=echo, ServerLive=say(ServerLiveResponse(live=True)))
        with server, Client(server.address, metadata={"authorization": "Bearer t"}) as client:
            client.infer("m")
            client.live()
        assert [dict(sent.invocation_metadata)["authorization"] for sent in server.calls] == ["Bearer t"] * 2


class TestState:
    """Is it there, is it ready, what is it?"""

    def test_live_and_ready_pass_the_servers_word_on(self) -> None:
        """For the server and for one version of a model."""
        asked: list[tuple[str, str]] = []

        def model_ready(request: Any, context: grpc.ServicerContext) -> ModelReadyResponse:
            asked.append((request.name, request.version))
            return ModelReadyResponse(ready=True)

        server = TinyServer(
            ServerLive=say(ServerLiveResponse(live=True)),
            ServerReady=say(ServerReadyResponse(ready=False)),
            ModelReady=model_ready,
        )
        with server, Client(server.address) as client:
            assert (client.live(), client.ready(), client.ready("m", 2)) == (True, False, True)
        assert asked == [("m", "2")]

    def test_without_a_connection_nothing_is_live_or_ready(self) -> None:
        """The question has an answer, so it does not raise."""
        with Client(NOWHERE) as client:
            assert (client.live(), client.ready(), client.ready("m")) == (False, False, False)

    def test_an_unknown_model_is_an_error(self) -> None:
        """Waiting would not help."""
        server = TinyServer(
            ServerReady=say(ServerReadyResponse(ready=True)),
            ModelReady=refuse(grpc.StatusCode.NOT_FOUND, "model 'm' is not known"),
        )
        with server, Client(server.address) as client:
            with pytest.raises(NotFound):
                client.ready("m")
            with pytest.raises(NotFound):
                client.wait_until_ready(30, model="m")

    def test_waiting_ends_when_server_and_model_are_ready(self) -> None:
        """The server's second answer is yes, then the model's third."""
        server = TinyServer(
            ServerReady=say(ServerReadyResponse(ready=False), ServerReadyResponse(ready=True)),
            ModelReady=say(*(ModelReadyResponse(ready=ready) for ready in (False, False, True))),
        )
        with server, Client(server.address) as client:
            client.wait_until_ready(30, model="m")
        paths = [sent.method.rpartition("/")[2] for sent in server.calls]
        assert paths == ["ServerReady"] * 2 + ["ModelReady"] * 3

    def test_waiting_starts_before_the_server_does(self) -> None:
        """The client connects as soon as there is something to connect to."""
        with TinyServer() as first:
            port = int(first.address.rpartition(":")[2])
        with Client(f"127.0.0.1:{port}") as client:
            done = threading.Thread(target=client.wait_until_ready, args=(60,))
            done.start()
            with TinyServer(port=port, ServerReady=say(ServerReadyResponse(ready=True))):
                done.join(60)
                assert not done.is_alive()

    @pytest.mark.parametrize("model", [None, "m"])
    def test_waiting_has_an_end(self, model: str | None) -> None:
        """And says what was not ready."""
        server = TinyServer(
            ServerReady=say(ServerReadyResponse(ready=model is not None)),
            ModelReady=say(ModelReadyResponse(ready=False)),
        )
        with server, Client(server.address) as client, pytest.raises(DeadlineExceeded) as caught:
            client.wait_until_ready(0.2, model=model)
        what = "model 'm'" if model else "the server"
        assert caught.value.message == f"{what} at {server.address} is not ready after 0.2 s"

    def test_metadata_describes_server_and_model(self) -> None:
        """As plain values; tensors as everywhere else."""
        model = ModelMetadataResponse(name="m", versions=["1", "2"], platform="onnxruntime_onnx")
        model.inputs.add(name="x", datatype="FP32", shape=[-1, 4])
        server = TinyServer(
            ServerMetadata=say(ServerMetadataResponse(name="sardonyx", version="1", extensions=["classification"])),
            ModelMetadata=say(model),
        )
        with server, Client(server.address) as client:
            assert client.metadata() == ServerInfo(name="sardonyx", version="1", extensions=("classification",))
            info = client.metadata("m")
        assert (info.name, info.versions, info.platform, info.outputs) == ("m", ("1", "2"), "onnxruntime_onnx", ())
        assert info.inputs == (TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),)

    def test_config_is_the_message(self) -> None:
        """All of it, typed by the stubs."""

        def answer(request: Any, context: grpc.ServicerContext) -> ModelConfigResponse:
            return ModelConfigResponse(config={"name": request.name, "max_batch_size": 8})

        with TinyServer(ModelConfig=answer) as server, Client(server.address) as client:
            config = client.config("m")
        assert (config.name, config.max_batch_size) == ("m", 8)

    def test_what_a_server_lacks_is_unimplemented(self) -> None:
        """The client's class for it, not grpc's."""
        with TinyServer() as server, Client(server.address) as client, pytest.raises(Unimplemented):
            client.metadata()


class TestClose:
    """The end of a client."""

    def test_a_closed_client_says_so(self) -> None:
        """Closing twice is no error."""
        client = Client(NOWHERE)
        client.close()
        client.close()
        for use in (lambda: client.infer("m"), client.live, client.metadata, client.wait_until_ready):
            with pytest.raises(ClientError) as caught:
                use()
            assert caught.value.message == "the client is closed: make a new one"


def test_importing_the_client_loads_neither_numpy_nor_protobuf_reflection_nor_a_server() -> None:
    """A program that only imports it waits for grpc, and for nothing else of weight."""
    program = (
        "import sys, sardonyx_client\n"
        "heavy = {'numpy', 'sardonyx_client._values', 'google.protobuf.message_factory', 'sardonyx_wire.messages',\n"
        "         'sardonyx_server', 'onnxruntime'}\n"
        "print(sorted(sys.modules.keys() & heavy))\n"
    )
    paths = [str(ROOT / folder) for folder in ("protos", "client", "server")]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
