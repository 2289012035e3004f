"""Tensors in shared memory of clients: where they come from and go to, and what clients may do to it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sardonyx_server.errors import Unsupported
from sardonyx_server.runtime.cuda_memory import CudaRuntime
from sardonyx_server.settings import MIB
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import (
    CudaSharedMemoryRegisterRequest,
    CudaSharedMemoryStatusRequest,
    CudaSharedMemoryUnregisterRequest,
    ModelInferRequest,
    ModelInferResponse,
)
from sardonyx_wire.tensors import decode_raw, encode_raw
from tests.descriptors import SHARED_MEMORY, descriptors_of
from tests.e2e.memory import (
    NEEDS_POSIX_MEMORY,
    in_region,
    regions,
    register,
    shared,
    unregister,
    without_data,
)
from tests.e2e.messages import Failure, arrays_of, failure_of, gate_request, infer_request
from tests.e2e.models import GATE_TABLE, MAX_ROWS, identity_name
from tests.e2e.servers import MESSAGE_LIMIT_BYTES, TRANSPORTS, Server, assert_safe, eventually

pytestmark = NEEDS_POSIX_MEMORY

SAMPLES = {
    name: np.array([["ab", "ü", ""], ["c\0d", "x" * 200, "\n"]], object)
    if name == "BYTES"
    else np.array([[0, 1, 2], [3, 1, 0]]).astype(datatype.dtype)
    for name, datatype in DATATYPES.items()
}


@pytest.fixture(autouse=True)
def no_regions_left(server: Server) -> Iterator[None]:
    """The server is left as it was."""
    yield
    unregister(server)
    server.assert_well()


@pytest.fixture(scope="module", params=TRANSPORTS)
def careful(request: pytest.FixtureRequest, models: Path) -> Iterator[Server]:
    """A server as it is by default: shared memory is off."""
    with Server(models, request.param) as running:
        yield running


def failure(call: Any) -> Failure:
    """How a call fails; it must, and show nothing of the inside."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    found = failure_of(caught.value)
    assert_safe(found)
    return found


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_makes_the_round_trip(server: Server, datatype: str) -> None:
    """In through one region, out through another place of it; as the same request gives it in messages."""
    x = SAMPLES[datatype]
    raw = encode_raw(DATATYPES[datatype], x)
    request = infer_request(identity_name(datatype), x=x, datatypes={"x": datatype}, outputs=["y"])
    plain = server.infer(request)
    with shared(b"-" * 8 + raw + b"-" * 1000) as memory:
        register(server, "r", memory.key, len(memory.read()))
        in_region(without_data(request).inputs[0], "r", len(raw), offset=8)
        in_region(request.outputs[0], "r", 900, offset=8 + len(raw))
        answer = server.infer(request)
        assert list(answer.raw_output_contents) == [b""]
        assert memory.read() == b"-" * 8 + raw + raw + b"-" * (1000 - len(raw))
    (output,), (expected,) = answer.outputs, plain.outputs
    assert (output.name, output.datatype, output.shape) == (expected.name, expected.datatype, expected.shape)
    assert output.parameters["shared_memory_region"].string_param == "r"
    assert output.parameters["shared_memory_byte_size"].int64_param == len(raw)
    assert output.parameters["shared_memory_offset"].int64_param == 8 + len(raw)
    assert decode_raw(DATATYPES[datatype], output.shape, raw).tolist() == arrays_of(plain)["y"].tolist()


def add_sub() -> tuple[ModelInferRequest, dict[str, Any]]:
    """A request to ``add_sub``, and what it answers."""
    a, b = np.arange(8, dtype=np.int32).reshape(2, 4), np.full((2, 4), 3, np.int32)
    request = infer_request("add_sub", a=a, b=b, outputs=["difference", "sum"])
    return request, {"a": a, "b": b, "difference": a - b, "sum": a + b}


def test_some_tensors_lie_in_memory_and_some_are_sent(server: Server) -> None:
    """Raw entries are those of the inputs that are sent; each output has one, empty or not."""
    request, want = add_sub()
    with shared(want["a"].tobytes() + bytes(32)) as memory:
        register(server, "in", memory.key, 32)
        register(server, "out", memory.key, 32, offset=32)
        del request.raw_input_contents[0]
        in_region(request.inputs[0], "in", 32)
        in_region(request.outputs[1], "out", 32)
        answer = server.infer(request)
        assert [len(raw) for raw in answer.raw_output_contents] == [32, 0]
        assert answer.raw_output_contents[0] == want["difference"].tobytes()
        assert memory.read()[32:] == want["sum"].tobytes()


def test_regions_are_listed_and_forgotten(server: Server) -> None:
    """One by name, or all; what is not there is no error to forget."""
    with shared(bytes(100)) as memory:
        register(server, "a", memory.key, 40)
        register(server, "b", memory.key.removeprefix("/"), 50, offset=50)
        a, b = (memory.key, 0, 40), (memory.key.removeprefix("/"), 50, 50)
        assert regions(server) == {"a": a, "b": b}
        assert regions(server, "b") == {"b": b}
        again = failure(lambda: register(server, "a", memory.key, 40))
        assert again.code is grpc.StatusCode.ALREADY_EXISTS
        assert again.reason == "ALREADY_EXISTS"
        unregister(server, "a")
        unregister(server, "a")
        unregister(server, "nobody")
        assert regions(server) == {"b": b}
        assert failure(lambda: regions(server, "a")).code is grpc.StatusCode.NOT_FOUND
        register(server, "a", memory.key, 10)
        unregister(server)
        assert regions(server) == {}


def test_a_region_registered_again_is_the_new_one(server: Server) -> None:
    """Requests of the same bytes, which share what was concluded from them."""
    request = without_data(infer_request("affine", x=np.ones((1, 4), np.float32)))
    in_region(request.inputs[0], "r", 16)
    for value in (1.0, 2.0):
        x = np.full((1, 4), value, np.float32)
        with shared(x.tobytes()) as memory:
            register(server, "r", memory.key, 16)
            answer = server.infer(request)
            unregister(server, "r")
        assert answer == server.infer(infer_request("affine", x=x))
    assert server.refusal(request).code is grpc.StatusCode.NOT_FOUND


def test_a_region_that_became_smaller_is_an_error_of_the_request_alone(server: Server) -> None:
    """Of its input or of its output; the server lives, and does not make the object larger again."""
    with shared(bytes(32)) as memory:
        register(server, "r", memory.key, 32)
        memory.truncate(31)
        taking = infer_request("affine", x=np.ones((1, 4), np.float32))
        in_region(without_data(taking).inputs[0], "r", 16, offset=16)
        giving = infer_request("affine", x=np.ones((1, 4), np.float32), outputs=["y"])
        in_region(giving.outputs[0], "r", 16, offset=16)
        for request in (taking, giving):
            refused = server.refusal(request)
            assert_safe(refused)
            assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
            assert refused.message == (
                "shared memory region 'r' has become smaller since it was registered: its object has 31 bytes, and "
                "the request needs 32; unregister it and register it again"
            )
        assert memory.path.stat().st_size == 31
        memory.truncate(0)
        assert server.refusal(taking).code is grpc.StatusCode.INVALID_ARGUMENT
        memory.truncate(32)
        assert server.infer(taking).outputs[0].name == "y"


def test_a_region_that_becomes_smaller_in_flight_costs_its_own_request_only(server: Server) -> None:
    """Another of the same batch gets its answer."""
    with shared(bytes(16)) as memory:
        register(server, "r", memory.key, 16)
        request = gate_request(index=1)
        in_region(request.outputs.add(name="y"), "r", 8)
        with server.holding(gate_request()) as hold:
            guilty = server.start_infer(request)
            good = server.start_infer(gate_request(index=2))
            eventually(lambda: server.model("gate").queue.rows == 2, "both wait")
            memory.truncate(4)
            hold.release()
            assert arrays_of(ModelInferResponse.FromString(good.result()))["y"].tolist() == [
                [1 + GATE_TABLE[2], 2 + GATE_TABLE[2]]
            ]
            refused = failure(guilty.result)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "has become smaller" in refused.message
        assert memory.path.stat().st_size == 4


def test_a_region_that_is_unregistered_in_flight_still_gets_its_output(server: Server) -> None:
    """The request keeps it; the name is free at once."""
    with shared(bytes(8)) as memory, shared(bytes(8)) as other:
        register(server, "r", memory.key, 8)
        request = gate_request(index=1)
        in_region(request.outputs.add(name="y"), "r", 8)
        with server.holding(gate_request()) as hold:
            call = server.start_infer(request)
            eventually(lambda: server.model("gate").queue.rows == 1, "it waits")
            unregister(server, "r")
            register(server, "r", other.key, 8)
            hold.release()
            call.result()
        assert np.frombuffer(memory.read(), np.float32).tolist() == [1 + GATE_TABLE[1], 2 + GATE_TABLE[1]]
        assert other.read() == bytes(8)


def test_an_input_is_that_of_the_moment_it_is_run(server: Server) -> None:
    """What the client writes while the request waits is what the model gets, as Triton has it."""
    x = np.array([[5, 6]], np.float32)
    with shared(x.tobytes()) as memory:
        register(server, "r", memory.key, 8)
        request = gate_request(x)
        del request.raw_input_contents[0]
        in_region(request.inputs[0], "r", 8)
        with server.holding(gate_request()) as hold:
            call = server.start_infer(request)
            eventually(lambda: server.model("gate").queue.rows == 1, "it waits")
            assert server.gauges()["bytes in queues"] > 8
            memory.write(bytes(8))
            hold.release()
            answer = arrays_of(ModelInferResponse.FromString(call.result()))
    assert answer["y"].tolist() == (np.zeros_like(x) + GATE_TABLE[0]).tolist()


def test_requests_with_and_without_shared_memory_or_classes_run_together(server: Server) -> None:
    """How an output is answered is each request's own; they share a run all the same."""
    plain = gate_request([[1, 5]])
    two, one, placed = gate_request([[2, 6]]), gate_request([[3, 7]]), gate_request([[4, 8]])
    two.outputs.add(name="y").parameters["classification"].int64_param = 2
    one.outputs.add(name="y").parameters["classification"].int64_param = 1
    with shared(bytes(8)) as memory:
        register(server, "r", memory.key, 8)
        in_region(placed.outputs.add(name="y"), "r", 8)
        with server.holding(gate_request()) as hold:
            calls = [server.start_infer(each) for each in (plain, two, one, placed)]
            eventually(lambda: server.model("gate").queue.rows == 4, "all wait")
            before = server.runs("gate")
            hold.release()
            answers = [ModelInferResponse.FromString(call.result()) for call in calls]
        eventually(
            lambda: server.runs("gate") == before + 1 + server.runs_of("gate", 4),
            "the held one, and those for the four",
        )
        assert np.frombuffer(memory.read(), np.float32).tolist() == [4.5, 8.5]
    assert [list(answer.outputs[0].shape) for answer in answers] == [[1, 2], [1, 2], [1, 1], [1, 2]]
    assert arrays_of(answers[0])["y"].tolist() == [[1.5, 5.5]]
    assert arrays_of(answers[1])["y"].tolist() == [[b"6.500000:1", b"2.500000:0"]]
    assert arrays_of(answers[2])["y"].tolist() == [[b"7.500000:1"]]
    assert list(answers[3].raw_output_contents) == [b""]


def test_a_request_that_is_split_goes_through_memory_as_one(server: Server) -> None:
    """More rows than a batch has."""
    rows = 5 * MAX_ROWS + 3
    x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    request = infer_request("affine", x=x, outputs=["y"])
    plain = arrays_of(server.infer(request))["y"]
    with shared(x.tobytes() + bytes(x.nbytes)) as memory:
        register(server, "r", memory.key, 2 * x.nbytes)
        in_region(without_data(request).inputs[0], "r", x.nbytes)
        in_region(request.outputs[0], "r", x.nbytes, offset=x.nbytes)
        server.infer(request)
        assert memory.read()[x.nbytes :] == plain.tobytes()


def test_tensors_in_memory_may_be_larger_than_a_message(server: Server) -> None:
    """In and out."""
    count = MESSAGE_LIMIT_BYTES // 4 + MIB
    x = np.arange(count, dtype=np.float32)
    with shared(x.tobytes() + bytes(x.nbytes)) as memory:
        register(server, "r", memory.key, 2 * x.nbytes)
        request = ModelInferRequest(model_name="undeclared")
        in_region(request.inputs.add(name="x", datatype="FP32", shape=[count]), "r", x.nbytes)
        in_region(request.outputs.add(name="y"), "r", x.nbytes, offset=x.nbytes)
        server.infer(request)
        assert memory.read()[x.nbytes :] == x.tobytes()


@pytest.mark.parametrize(
    ("byte_size", "offset"), [(17, 0), (1, 16), (16, 1), (16, 2**63 - 1), (2**63 - 1, 0), (2**63 - 1, 2**63 - 1)]
)
def test_a_place_beyond_its_region_is_refused(server: Server, byte_size: int, offset: int) -> None:
    """Although the object is larger. Numbers of any size."""
    with shared(bytes(100)) as memory:
        register(server, "r", memory.key, 16)
        request = ModelInferRequest(model_name="identity_bytes")
        request.inputs.add(name="x", datatype="BYTES", shape=[1, 3])
        in_region(request.inputs[0], "r", byte_size, offset)
        beyond = f"shared memory region 'r' has 16 bytes: {byte_size} bytes at offset {offset} go beyond its end"
        assert server.refusal(request).message == beyond
        request = infer_request("affine", x=np.ones((1, 4), np.float32), outputs=["y"])
        in_region(request.outputs[0], "r", byte_size, offset)
        refused = server.refusal(request)
        assert refused.message == beyond
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT


def test_an_output_larger_than_its_place_names_both(server: Server) -> None:
    """And leaves the region as it was."""
    with shared(bytes(100)) as memory:
        register(server, "r", memory.key, 100)
        request = infer_request("affine", x=np.ones((1, 4), np.float32), outputs=["y"])
        in_region(request.outputs[0], "r", 15)
        refused = server.refusal(request)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.message == (
            "output 'y' of model 'affine' takes 16 bytes, but its place in shared memory region 'r' has 15: ask for a "
            "larger 'shared_memory_byte_size'"
        )
        assert refused.fields == ["outputs[0].parameters[shared_memory_byte_size]"]
        assert memory.read() == bytes(100)


def test_a_storm_of_registrations_and_requests_leaves_nothing_behind(server: Server) -> None:
    """Eight callers of one name: each call succeeds or says that the name is taken or unknown; no descriptor stays."""
    request = without_data(infer_request("affine", x=np.ones((1, 4), np.float32), outputs=["y"]))
    in_region(request.inputs[0], "r", 16)
    in_region(request.outputs[0], "r", 16, offset=16)
    expected = {grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.NOT_FOUND}

    with shared(bytes(32)) as memory:
        calls = (
            lambda: register(server, "r", memory.key, 32),
            lambda: server.infer(request),
            lambda: unregister(server, "r"),
            lambda: regions(server),
        )

        def attempt(number: int) -> grpc.StatusCode | None:
            try:
                calls[number % len(calls)]()
            except grpc.RpcError as error:
                return failure_of(error).code
            return None

        before = descriptors_of(SHARED_MEMORY)
        with ThreadPoolExecutor(8) as callers:
            outcomes = set(callers.map(attempt, range(800)))
        assert outcomes <= expected | {None}
        assert None in outcomes
        unregister(server)
    server.settle()
    eventually(lambda: descriptors_of(SHARED_MEMORY) <= before, "the descriptors are closed")


def test_where_it_is_off_nothing_is_registered_or_used(careful: Server) -> None:
    """The default. With the way out; lists are empty, and to clear them is no error."""
    with shared(bytes(16)) as memory:
        refused = failure(lambda: register(careful, "r", memory.key, 16))
    assert refused.code is grpc.StatusCode.PERMISSION_DENIED
    assert refused.reason == "SHARED_MEMORY_OFF"
    assert refused.message == (
        "shared memory of clients is off on this server: its operator can allow it with --allow-client-shm true; until "
        "then send tensors in raw_input_contents and take them from raw_output_contents"
    )
    request = infer_request("affine", x=np.ones((1, 4), np.float32), outputs=["y"])
    in_region(request.outputs[0], "r", 16)
    assert careful.refusal(request).message == refused.message
    del request.outputs[:]
    in_region(without_data(request).inputs[0], "r", 16)
    assert careful.refusal(request).message == refused.message
    assert regions(careful) == {}
    unregister(careful)
    unregister(careful, "r")
    careful.assert_well()


def test_the_extension_is_named_where_it_works(server: Server, careful: Server) -> None:
    """Clients choose by it."""
    allowed = set(server.call("ServerMetadata").extensions)
    assert allowed - set(careful.call("ServerMetadata").extensions) >= {"system_shared_memory"}
    assert {"classification", "parameters"} <= allowed


def test_cuda_memory_says_why_it_cannot_be_used(server: Server) -> None:
    """Lists are empty all the same, and to clear them is no error."""
    try:
        CudaRuntime().require()
    except Unsupported as error:
        reason = error.message
    else:
        pytest.skip("this machine has CUDA")
    register_request = CudaSharedMemoryRegisterRequest(name="c", raw_handle=bytes(64), byte_size=1)
    for call in (
        lambda: server.call("CudaSharedMemoryRegister", register_request),
        lambda: server.call("CudaSharedMemoryStatus", CudaSharedMemoryStatusRequest(name="c")),
        lambda: server.call("CudaSharedMemoryUnregister", CudaSharedMemoryUnregisterRequest(name="c")),
    ):
        refused = failure(call)
        assert refused.code is grpc.StatusCode.UNIMPLEMENTED
        assert refused.message == reason
    assert not server.call("CudaSharedMemoryStatus").regions
    server.call("CudaSharedMemoryUnregister")
    assert "cuda_shared_memory" not in server.call("ServerMetadata").extensions


class TestTritonclient:
    """Its own utilities make the regions, write them and read them."""

    @pytest.fixture
    def memory(self) -> Any:
        """Its module for system memory."""
        return pytest.importorskip("tritonclient.utils.shared_memory", reason="tritonclient needs protobuf 6")

    @pytest.fixture
    def client(self, server: Server) -> Iterator[Any]:
        """Its sync client."""
        triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
        with triton.InferenceServerClient(server.app.address) as connected:
            # As its examples begin, on any server.
            connected.unregister_system_shared_memory()
            connected.unregister_cuda_shared_memory()
            yield connected

    def test_tensors_of_numbers(self, client: Any, memory: Any) -> None:
        """Two inputs in one region, two outputs in another."""
        triton: Any = pytest.importorskip("tritonclient.grpc")
        a, b = np.arange(16, dtype=np.int32).reshape(4, 4), np.full((4, 4), 5, np.int32)
        size = a.nbytes
        given = memory.create_shared_memory_region("given", "/test_of_sardonyx_given", 2 * size)
        taken = memory.create_shared_memory_region("taken", "/test_of_sardonyx_taken", 2 * size)
        try:
            memory.set_shared_memory_region(given, [a, b])
            client.register_system_shared_memory("given", "/test_of_sardonyx_given", 2 * size)
            client.register_system_shared_memory("taken", "/test_of_sardonyx_taken", 2 * size)
            inputs, outputs = [], []
            for index, name in enumerate(("a", "b")):
                inputs.append(triton.InferInput(name, [4, 4], "INT32"))
                inputs[-1].set_shared_memory("given", size, offset=index * size)
            for index, name in enumerate(("sum", "difference")):
                outputs.append(triton.InferRequestedOutput(name))
                outputs[-1].set_shared_memory("taken", size, offset=index * size)
            result = client.infer("add_sub", inputs, outputs=outputs)
            assert set(client.get_system_shared_memory_status().regions) == {"given", "taken"}
            for index, want in enumerate((a + b, a - b)):
                answered = result.get_output(outputs[index].name())
                assert answered.parameters["shared_memory_byte_size"].int64_param == size
                got = memory.get_contents_as_numpy(taken, np.int32, list(answered.shape), offset=index * size)
                assert got.tolist() == want.tolist()
            client.unregister_system_shared_memory("given")
            assert set(client.get_system_shared_memory_status().regions) == {"taken"}
        finally:
            memory.destroy_shared_memory_region(given)
            memory.destroy_shared_memory_region(taken)

    def test_tensors_of_text(self, client: Any, memory: Any) -> None:
        """Serialised by its own helper."""
        triton: Any = pytest.importorskip("tritonclient.grpc")
        utilities: Any = pytest.importorskip("tritonclient.utils")
        x = np.array([[b"ab", "ü".encode(), b""]], object)
        serialised = utilities.serialize_byte_tensor(x)
        size = utilities.serialized_byte_size(serialised)
        handle = memory.create_shared_memory_region("text", "/test_of_sardonyx_text", 2 * size)
        try:
            memory.set_shared_memory_region(handle, [serialised])
            client.register_system_shared_memory("text", "/test_of_sardonyx_text", 2 * size)
            given = triton.InferInput("x", [1, 3], "BYTES")
            given.set_shared_memory("text", size)
            wanted = triton.InferRequestedOutput("y")
            wanted.set_shared_memory("text", size, offset=size)
            client.infer("identity_bytes", [given], outputs=[wanted])
            got = memory.get_contents_as_numpy(handle, np.object_, [1, 3], offset=size)
            assert got.tolist() == x.tolist()
        finally:
            memory.destroy_shared_memory_region(handle)
