"""All methods on one connection of raw HTTP/2, whoever answers them: interleaved, large, cancelled, refused."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from google.rpc.status_pb2 import Status as RpcStatus
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from sardonyx_wire.messages import (
    METHODS,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelStatisticsRequest,
    ModelStreamInferResponse,
    ServerLiveResponse,
)
from tests.e2e.bad_streams import STREAM
from tests.e2e.messages import arrays_of, encoded, gate_request, infer_request
from tests.e2e.servers import INFER, Server
from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.http2.wire import (
    MAX_WINDOW,
    PREFACE,
    START_WINDOW,
    Setting,
    block,
    data,
    headers,
    prefixed,
    request_fields,
    rst_stream,
    settings,
    window_update,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
LIVE: Final = METHODS["ServerLive"].path
METADATA: Final = METHODS["ModelMetadata"].path
UNIMPLEMENTED, NOT_FOUND = 12, 5
LARGE: Final = np.arange(1_000_000, dtype=np.float32)


@pytest.fixture
def peer(server: Server) -> Iterator[Peer]:
    """A connection with room for everything."""
    with Peer(server.app.address) as connection:
        yield connection
    server.settle()


def affine(number: float) -> bytes:
    """A request of its own."""
    return encoded(infer_request("affine", x=np.full((1, 4), number, np.float32), request_id=f"{number:g}"))


def large() -> bytes:
    """A request of 4 MB, which is answered with as much."""
    return encoded(infer_request("undeclared", x=LARGE))


def begin(peer: Peer, path: str) -> int:
    """Open a stream."""
    stream_id = peer.next_stream_id()
    peer.send(headers(stream_id, block(request_fields(path=path))))
    return stream_id


def streamed(message: bytes) -> ModelInferResponse:
    """What came on a stream, which must be well."""
    answer = ModelStreamInferResponse.FromString(message)
    assert not answer.error_message
    return answer.infer_response


def test_methods_of_every_kind_share_a_connection(peer: Peer) -> None:
    """Their frames interleaved, three times over; each has its own answer."""
    cases: Sequence[tuple[str, bytes]] = [
        (INFER, affine(1)),
        (LIVE, b""),
        (METADATA, encoded(ModelMetadataRequest(name="affine"))),
        (CHECK, encoded(HealthCheckRequest())),
        (REFLECTION, encoded(ServerReflectionRequest(list_services=""))),
        (STREAM, affine(2)),
        ("/inference.GRPCInferenceService/Unknown", b""),
        ("/unknown.Service/Method", b"some"),
        (INFER, affine(3)),
    ]
    for _ in range(3):
        stream_ids = [begin(peer, path) for path, _ in cases]
        for one, (_, message) in zip(stream_ids, cases, strict=True):
            peer.send(data(one, prefixed(message)[:3]))
        for one, (_, message) in zip(reversed(stream_ids), reversed(cases), strict=True):
            peer.send(data(one, prefixed(message)[3:], end=True))
        answers = [peer.answer(one) for one in stream_ids]
        assert [answer.status for answer in answers] == [0] * 6 + [UNIMPLEMENTED] * 2 + [0]
        first, live, metadata, check, reflection, stream, _, _, last = (answer.messages for answer in answers)
        assert [ModelInferResponse.FromString(one).id for one in (*first, *last)] == ["1", "3"]
        assert ServerLiveResponse.FromString(*live).live
        assert ModelMetadataResponse.FromString(*metadata).name == "affine"
        assert HealthCheckResponse.FromString(*check).status == HealthCheckResponse.SERVING
        assert "inference" in str(ServerReflectionResponse.FromString(*reflection))
        assert streamed(*stream).id == "2"


def test_a_stream_that_stays_open_holds_nothing_up(peer: Peer) -> None:
    """A watch of the health: 50 inferences beside it, then it is reset, and the connection goes on."""
    watch = peer.start(encoded(HealthCheckRequest()), path=WATCH)
    peer.read_until(lambda: bool(peer.of(watch).data))
    assert [HealthCheckResponse.FromString(one).status for one in peer.of(watch).messages] == [1]
    answers = [ModelInferResponse.FromString(peer.ask(affine(number), path=INFER)).id for number in range(50)]
    assert answers == [str(number) for number in range(50)]
    assert not peer.of(watch).ended
    peer.send(rst_stream(watch))
    assert ServerLiveResponse.FromString(peer.ask(b"", path=LIVE)).live
    assert not peer.of(watch).ended


def test_a_conversation_goes_to_and_fro(peer: Peer) -> None:
    """Each request of a stream is answered before the next is sent, with unary calls in between."""
    stream_id = begin(peer, STREAM)
    for number in range(10):
        peer.upload(stream_id, prefixed(affine(number)), end=False)
        peer.read_until(lambda: len(peer.of(stream_id).messages) > number)  # noqa: B023  # called before the next number
        assert ModelInferResponse.FromString(peer.ask(affine(100 + number), path=INFER)).id == str(100 + number)
    peer.send(data(stream_id, end=True))
    assert [streamed(one).id for one in peer.answer(stream_id).messages] == [str(number) for number in range(10)]


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_large_messages_pass_both_ways(peer: Peer, path: str) -> None:
    """4 MB up and down, three times on one connection."""
    for _ in range(3):
        answer = peer.ask(large(), path=path)
        response = streamed(answer) if path == STREAM else ModelInferResponse.FromString(answer)
        (found,) = arrays_of(response).values()
        assert np.array_equal(found, LARGE)


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_large_answers_keep_to_a_small_window(server: Server, path: str) -> None:
    """65,535 bytes for the stream and the connection, given back as they are used, and never more."""
    with Peer(server.app.address, PREFACE + settings()) as peer:
        stream_id = peer.start(large(), path=path)
        answer = peer.of(stream_id)
        given = {0: START_WINDOW, stream_id: START_WINDOW}
        seen = 0
        while not answer.ended:
            assert peer.take()
            assert len(answer.data) <= min(given.values())
            if len(answer.data) - seen > START_WINDOW // 2:
                for place in given:
                    peer.send(window_update(place, len(answer.data) - seen))
                    given[place] += len(answer.data) - seen
                seen = len(answer.data)
        assert answer.well
        assert len(*answer.messages) > LARGE.nbytes
    server.settle()


def test_a_relayed_answer_without_room_holds_nothing_up(server: Server) -> None:
    """It waits for its window; unary calls of both kinds pass it, on the same connection and on others."""
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 1000})
    with Peer(server.app.address, greeting + window_update(0, MAX_WINDOW - START_WINDOW)) as peer:
        blocked = peer.start(large(), path=STREAM)
        peer.read_until(lambda: len(peer.of(blocked).data) == 1000)
        for number in range(10):
            assert ModelInferResponse.FromString(peer.ask(affine(number), path=INFER)).id == str(number)
            assert ServerLiveResponse.FromString(peer.ask(b"", path=LIVE)).live
        assert len(peer.of(blocked).data) == 1000
        peer.send(settings({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW}))
        (message,) = peer.answer(blocked).messages
        (found,) = arrays_of(streamed(message)).values()
        assert np.array_equal(found, LARGE)
    server.settle()


def test_a_relayed_answer_that_waits_can_be_reset(server: Server) -> None:
    """Twenty times, with 1,000 bytes of each read; nothing is left of them."""
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 1000})
    with Peer(server.app.address, greeting) as peer:
        for _ in range(20):
            blocked = peer.start(large(), path=STREAM)
            peer.read_until(lambda: len(peer.of(blocked).data) == 1000)  # noqa: B023  # called before the next
            peer.send(rst_stream(blocked))
        assert ServerLiveResponse.FromString(peer.ask(b"", path=LIVE)).live
    server.settle()


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_a_call_that_runs_can_be_reset(server: Server, peer: Peer, path: str) -> None:
    """While another holds its model: it never runs, and nothing waits for it."""
    with server.holding(gate_request()):
        stream_id = peer.start(encoded(gate_request()), path=path)
        assert ServerLiveResponse.FromString(peer.ask(b"", path=LIVE)).live
        peer.send(rst_stream(stream_id))
        # So that the server has read of it before there is an answer.
        assert ServerLiveResponse.FromString(peer.ask(b"", path=LIVE)).live
    assert ServerLiveResponse.FromString(peer.ask(b"", path=LIVE)).live
    assert not peer.of(stream_id).data


@pytest.mark.parametrize("paths", [(INFER, LIVE), (LIVE, INFER), (STREAM, LIVE)], ids=str)
def test_a_client_without_a_header_table_can_read_whoever_answers(server: Server, paths: tuple[str, str]) -> None:
    """The first header of all must say that the table is gone (RFC 7541, section 4.2); the decoder here insists."""
    with Peer(server.app.address, PREFACE + settings({Setting.HEADER_TABLE_SIZE: 0})) as peer:
        peer.decoder.max_allowed_table_size = 0
        for path in paths:
            peer.ask(b"" if path == LIVE else affine(1), path=path)
    server.settle()


@pytest.mark.parametrize("path", [LIVE, INFER])
def test_a_client_may_give_up_its_header_table_later(server: Server, path: str) -> None:
    """Calls of both kinds have been answered before; the next header says it, whoever writes it."""
    with Peer(server.app.address) as peer:
        peer.ask(b"", path=LIVE)
        peer.ask(affine(1), path=INFER)
        acknowledged = peer.settings_acknowledged
        peer.send(settings({Setting.HEADER_TABLE_SIZE: 0}))
        peer.read_until(lambda: peer.settings_acknowledged > acknowledged)
        peer.decoder.max_allowed_table_size = 0
        peer.ask(b"" if path == LIVE else affine(2), path=path)
    server.settle()


@pytest.mark.parametrize("path", [INFER, STREAM, WATCH, REFLECTION])
def test_a_connection_that_ends_takes_its_calls_along(server: Server, path: str) -> None:
    """Those that wait for an answer, and those that only stand open."""
    with server.holding(gate_request()):
        with Peer(server.app.address) as peer:
            begin(peer, path)
            peer.start(encoded(gate_request()) if path in {INFER, STREAM} else b"", path=path)
            peer.settle()
        server.call("ServerLive")
    server.settle()


def test_failures_have_their_details_whoever_answers(peer: Peer) -> None:
    """Code, text and google.rpc.Status; the same for a model that is not there."""
    unknown = encoded(infer_request("nobody", x=np.zeros(1, np.float32)))
    for path, message in ((METADATA, encoded(ModelMetadataRequest(name="nobody"))), (INFER, unknown)):
        answer = peer.answer(peer.start(message, path=path))
        assert answer.status == NOT_FOUND
        assert "nobody" in answer.trailers["grpc-message"]
        packed = answer.trailers["grpc-status-details-bin"]
        status = RpcStatus.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
        assert (status.code, len(status.details) > 0) == (NOT_FOUND, True)
        assert "nobody" in status.message


def test_compressed_requests_are_answered_among_plain_ones(peer: Peer) -> None:
    """Interleaved with them on one connection."""
    plain = begin(peer, INFER)
    packed = peer.next_stream_id()
    peer.send(headers(packed, block(request_fields(("grpc-encoding", "gzip"), path=INFER))))
    peer.send(data(plain, prefixed(affine(1))[:20]))
    peer.send(data(packed, prefixed(gzip.compress(affine(2)), flag=1), end=True))
    peer.send(data(plain, prefixed(affine(1))[20:], end=True))
    found = [ModelInferResponse.FromString(*peer.answer(one).messages).id for one in (plain, packed)]
    assert found == ["1", "2"]


def test_each_request_is_counted_once_whichever_way_it_came(server: Server, peer: Peer) -> None:
    """Plain, compressed and in a stream; raw and by grpc's own client; what was refused is no success."""

    def successes() -> int:
        stats = server.call("ModelStatistics", ModelStatisticsRequest(name="affine", version="3")).model_stats
        return sum(one.inference_stats.success.count for one in stats)

    before = successes()
    for number in range(5):
        peer.ask(affine(number), path=INFER)
        peer.ask(affine(number), path=STREAM)
        server.infer(infer_request("affine", x=np.zeros((1, 4), np.float32)))
    packed = peer.next_stream_id()
    peer.send(headers(packed, block(request_fields(("grpc-encoding", "gzip"), path=INFER))))
    peer.send(data(packed, prefixed(gzip.compress(affine(2)), flag=1), end=True))
    assert peer.answer(packed).well
    assert peer.answer(peer.start(b"\xff", path=INFER)).failed
    server.settle()
    assert successes() - before == 16
