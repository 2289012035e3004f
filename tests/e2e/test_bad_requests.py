"""Each bad request gets its status and a text that helps, and leaves the server as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from tests.e2e.bad_messages import REFLECTION
from tests.e2e.bad_requests import BAD_REQUESTS, BadRequest
from tests.e2e.messages import arrays_of, encoded, failure_of, infer_request
from tests.e2e.servers import CALL_TIMEOUT_S, Server, assert_safe

if TYPE_CHECKING:
    from tests.e2e.messages import Failure

# What the whole table may leave behind: memos and arenas, but not one message per row.
_MAX_GROWTH_BYTES = 768 * 2**20


def memory_bytes() -> int:
    """Memory of this process, which is the server's too."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    """The whole table must not make the process grow."""
    before = memory_bytes()
    yield
    assert memory_bytes() - before < _MAX_GROWTH_BYTES


def send(server: Server, row: BadRequest) -> Failure:
    """Send it and read the failure."""
    more = {"timeout": CALL_TIMEOUT_S, **row.options}
    try:
        if row.streams:
            answers = list(server.channel.stream_stream(row.path)(iter([encoded(row.make())]), **more))
        else:
            answers = [server.raw(row.path, row.make(), **more)]
    except grpc.RpcError as error:
        return failure_of(error)
    raise AssertionError(f"expected {row.code.name}, got {len(answers)} answers")


@pytest.mark.parametrize("row", BAD_REQUESTS, ids=lambda row: row.id)
def test_a_bad_request_gets_its_status_and_leaves_no_trace(server: Server, row: BadRequest) -> None:
    """See the table."""
    failure = send(server, row)
    assert (failure.code, failure.message) == (row.code, failure.message)
    assert re.search(row.pattern, failure.message), failure.message
    assert_safe(failure)
    if not row.from_core:
        assert re.fullmatch(r"[A-Z][A-Z_]+", failure.reason)
        assert failure.fields == ([row.field] if row.field else [])
    server.assert_well()


def test_ids_of_the_table_are_unique() -> None:
    """A row is found by its id."""
    assert len({row.id for row in BAD_REQUESTS}) == len(BAD_REQUESTS)


def test_unknown_fields_are_ignored(server: Server) -> None:
    """A client of tomorrow talks to a server of today."""
    request = infer_request("affine", x=np.ones((1, 4), np.float32))
    plain = server.infer(request)
    # Field 100 as text, and field 15 as a number, behind and before the known ones.
    odd = b"\x78\x05" + request.SerializeToString() + b"\xa2\x06\x03new"
    assert server.infer(odd) == plain
    server.assert_well()


def test_fields_in_any_order_are_read(server: Server) -> None:
    """The format promises no order: raw contents may come first."""
    request = infer_request("affine", request_id="7", x=np.ones((1, 4), np.float32))
    plain = server.infer(request)
    raw = type(request)(raw_input_contents=request.raw_input_contents).SerializeToString()
    request.ClearField("raw_input_contents")
    assert server.infer(raw + request.SerializeToString()) == plain


@pytest.mark.parametrize(
    "parameters",
    [
        {"my.key": "text", "another": 3, "flag": True, "x": 1.5},
        {"triton_enable_empty_final_response": True},
        {"timeout": 2**62, "priority": 3},
        {"sequence_id": 0, "sequence_start": False, "sequence_end": False},
    ],
)
def test_parameters_that_mean_nothing_here_pass(server: Server, parameters: dict[str, bool | str | float]) -> None:
    """Clients send them by habit."""
    x = np.ones((1, 4), np.float32)
    plain = server.infer(infer_request("affine", x=x))
    assert server.infer(infer_request("affine", parameters=parameters, x=x)) == plain


def test_an_unsigned_parameter_of_2_to_the_63_is_a_number_like_any_other(server: Server) -> None:
    """uint64 reaches further than int64."""
    request = infer_request("affine", x=np.ones((1, 4), np.float32))
    request.parameters["timeout"].uint64_param = 2**63
    request.parameters["priority"].uint64_param = 2**64 - 1
    assert server.infer(request).outputs[0].name == "y"
    server.assert_well()


def test_a_nul_within_a_string_is_kept(server: Server) -> None:
    """Strings have a length, not an end."""
    x = np.array([["a\0b", "\0", ""]], object)
    assert arrays_of(server.infer(infer_request("identity_bytes", x=x)))["y"].tolist() == [[b"a\0b", b"\0", b""]]


def test_a_million_empty_strings_are_answered(server: Server) -> None:
    """4 MB of lengths, every one of them 0."""
    count = 1_000_000
    request = infer_request("undeclared_bytes", x=np.empty(0, object))
    request.inputs[0].shape[0] = count
    request.raw_input_contents[0] = bytes(4 * count)
    answer = server.infer(request)
    assert list(answer.outputs[0].shape) == [count]
    assert answer.raw_output_contents[0] == bytes(4 * count)
    server.assert_well()


def test_reflection_says_not_found_within_its_stream(server: Server) -> None:
    """The stream goes on: a question about nothing is no fault of the caller."""
    questions = [
        ServerReflectionRequest(file_containing_symbol="no.Such"),
        ServerReflectionRequest(file_by_filename="m" * 2**20),
        ServerReflectionRequest(list_services=""),
    ]
    stream = server.channel.stream_stream(
        REFLECTION,
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    answers = list(stream(iter(questions), timeout=CALL_TIMEOUT_S))
    assert [answer.WhichOneof("message_response") for answer in answers] == [
        "error_response",
        "error_response",
        "list_services_response",
    ]
    assert answers[0].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    server.assert_well()


def test_a_call_without_a_message_is_refused(server: Server) -> None:
    """The caller half-closes at once. grpc's own words on the public API."""
    call = server.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        call(iter(()), timeout=CALL_TIMEOUT_S)
    failure = failure_of(caught.value)
    assert_safe(failure)
    if server.transport == "lane":
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.reason == "NO_MESSAGE"
    else:
        assert failure.code is grpc.StatusCode.UNIMPLEMENTED
    server.assert_well()


def test_more_messages_than_one_are_ignored(server: Server) -> None:
    """A unary method reads one."""
    request = encoded(infer_request("affine", request_id="first", x=np.ones((1, 4), np.float32)))
    other = encoded(infer_request("nobody"))
    call = server.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    assert b"first" in call(iter([request, other]), timeout=CALL_TIMEOUT_S)
    server.assert_well()
