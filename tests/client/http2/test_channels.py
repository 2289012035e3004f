"""Both HTTP/2 channels, of threads and of event loops, against servers that end calls in every way there is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_client import (
    BadResponse,
    Client,
    ClientClosed,
    DeadlineExceeded,
    ResourceExhausted,
    Retry,
    ServerFault,
    Unavailable,
    Unimplemented,
)
from sardonyx_wire.http2.frames import Flag, FrameType, frame, rst_stream, window_update
from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse
from tests.client.http2.peers import BOUND_S, Peer, PeerConnection
from tests.client.http2.wire import OPENING, answer, data, headers, prefixed, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Any]

QUICK = Retry(initial_backoff_s=0.001)
GOODBYE = frame(FrameType.GOAWAY, 0, 0, bytes(8))


def response(message: bytes) -> bytes:
    """An echo, as tests.client.test_client has it."""
    request = ModelInferRequest.FromString(message[5:])
    found = ModelInferResponse(model_name="m", raw_output_contents=request.raw_input_contents)
    for tensor in request.inputs:
        found.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return found.SerializeToString()


def serve(peer: PeerConnection) -> None:
    """Answer every call well."""
    peer.greet()
    answer_all(peer)


def answer_all(peer: PeerConnection) -> None:
    """Those that still come."""
    while True:
        stream_id, _, message = peer.request()
        peer.send(answer(stream_id, response(message)))


def failing(*fields: tuple[str, str]) -> Callable[[PeerConnection], None]:
    """Answer every call with this header alone."""

    def script(peer: PeerConnection) -> None:
        peer.greet()
        while True:
            peer.send(headers(peer.request()[0], [*OPENING, *fields], end=True))

    return script


def infer(client: Any, **options: Any) -> int:
    """One call, whose answer is its input."""
    return int(client.infer("m", x=[7], **options)["x"][0])


class TestConnections:
    """When they come, last and go."""

    def test_calls_share_a_connection(self, make_http2: Make) -> None:
        """One after the other."""
        with Peer(serve) as peer, make_http2(peer.address) as client:
            assert [infer(client) for _ in range(3)] == [7, 7, 7]
            assert peer.connections == 1

    def test_a_server_that_says_goodbye_between_calls_loses_none(self, make_http2: Make) -> None:
        """Nor one that goes without a word: the next call has another connection."""

        def once(peer: PeerConnection) -> None:
            peer.greet()
            stream_id, _, message = peer.request()
            peer.send(answer(stream_id, response(message)), frame(FrameType.GOAWAY, 0, 0, (1).to_bytes(4) + bytes(4)))

        with Peer(once, serve) as peer, make_http2(peer.address, retry=None) as client:
            assert [infer(client), infer(client)] == [7, 7]
            assert peer.connections == 2

    def test_an_answer_counts_whatever_comes_behind_it(self, make_http2: Make) -> None:
        """Here a frame that breaks the protocol, within the same bytes."""

        def script(peer: PeerConnection) -> None:
            peer.greet()
            stream_id, _, message = peer.request()
            peer.send(answer(stream_id, response(message)), frame(FrameType.PING, 0, 0, b""))

        with Peer(script) as peer, make_http2(peer.address, retry=None) as client:
            assert [infer(client), infer(client)] == [7, 7]
            assert peer.connections == 2

    @pytest.mark.parametrize("refusal", [GOODBYE, rst_stream(1, 7)], ids=["goodbye", "refused"])
    def test_a_call_that_the_server_did_not_look_at_is_made_again(self, make_http2: Make, refusal: bytes) -> None:
        """Also where nothing is tried again: it is no attempt."""

        def refuse(peer: PeerConnection) -> None:
            peer.greet()
            peer.request()
            peer.send(refusal)
            if refusal != GOODBYE:
                stream_id, _, message = peer.request()
                peer.send(answer(stream_id, response(message)))

        with Peer(refuse, serve) as peer, make_http2(peer.address, retry=None) as client:
            assert infer(client) == 7

    def test_a_server_that_says_goodbye_at_once_is_not_asked_on_that_connection(self, make_http2: Make) -> None:
        """It need not close it, and then nobody would ever answer."""

        def leave(peer: PeerConnection) -> None:
            peer.send(settings(), GOODBYE)
            while True:
                peer.frame()

        with Peer(leave, serve) as peer, make_http2(peer.address, retry=QUICK) as client:
            assert infer(client, timeout_s=BOUND_S / 4) == 7

    def test_of_connections_that_all_got_a_goodbye_none_costs_the_call(self) -> None:
        """A server that stops says it on each that waits. The call finds out on the first, and asks the others."""
        both, said = threading.Barrier(2), threading.Barrier(3)

        def leave(peer: PeerConnection) -> None:
            peer.greet()
            stream_id, _, message = peer.request()
            both.wait(BOUND_S)
            peer.send(answer(stream_id, response(message)))
            said.wait(BOUND_S)  # the callers have their answers
            peer.send(GOODBYE)
            said.wait(BOUND_S)
            peer.until(FrameType.HEADERS)

        with Peer(leave, leave, serve) as peer, Client(peer.address, retry=None) as client:
            with ThreadPoolExecutor(2) as threads:
                assert list(threads.map(lambda _: infer(client), range(2))) == [7, 7]
            said.wait(BOUND_S)
            said.wait(BOUND_S)
            assert infer(client) == 7
            assert peer.connections == 3

    @pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
    def test_a_connection_that_is_lost_within_a_call_is_unavailable(self, make_http2: Make, *, abruptly: bool) -> None:
        """And tried again where that was asked for."""

        def vanish(peer: PeerConnection) -> None:
            peer.greet()
            peer.request()
            if abruptly:
                peer.abort()

        with Peer(vanish) as peer, make_http2(peer.address, retry=None) as client:
            with pytest.raises(Unavailable, match="the connection was lost") as raised:
                infer(client)
            assert isinstance(raised.value.__cause__, grpc.RpcError)
        with Peer(vanish, serve) as peer, make_http2(peer.address, retry=QUICK) as client:
            assert infer(client) == 7

    @pytest.mark.parametrize(
        "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["another protocol", "silence"]
    )
    def test_what_does_not_speak_http2_is_no_server(self, make_http2: Make, greeting: bytes) -> None:
        """Nothing was sent to it."""

        def script(peer: PeerConnection) -> None:
            peer.raw.sendall(greeting)

        with (
            Peer(script) as peer,
            make_http2(peer.address, retry=None) as client,
            pytest.raises(Unavailable, match=f"no connection to {peer.address}: "),
        ):
            infer(client)

    def test_a_server_that_does_not_speak_at_all_ends_with_the_deadline(self, make_http2: Make) -> None:
        """It accepts, and that is all."""
        over = threading.Event()

        def script(_peer: PeerConnection) -> None:
            over.wait(BOUND_S)

        with Peer(script) as peer, make_http2(peer.address) as client:
            with pytest.raises(DeadlineExceeded, match=r"gave no answer within 0\.05 s"):
                infer(client, timeout_s=0.05)
            over.set()

    def test_nothing_is_sent_where_no_time_is_left(self, make_http2: Make) -> None:
        """The answer is there at once."""
        with Peer(serve) as peer, make_http2(peer.address) as client:
            for _ in range(2):
                with pytest.raises(DeadlineExceeded):
                    infer(client, timeout_s=0.0)
            assert peer.connections == 0

    def test_closing_ends_a_call_that_is_under_way(self, make_http2: Make) -> None:
        """With a clear error."""
        entered = threading.Event()

        def script(peer: PeerConnection) -> None:
            peer.greet()
            peer.request()
            entered.set()
            peer.frame()

        with Peer(script) as peer, make_http2(peer.address) as client:
            problems: list[BaseException] = []

            def call() -> None:
                try:
                    infer(client)
                except ClientClosed as error:
                    problems.append(error)

            calling = threading.Thread(target=call)
            calling.start()
            assert entered.wait(BOUND_S)
            client.close_from_outside()
            calling.join(BOUND_S)
            (problem,) = problems
            assert str(problem) == f"ModelInfer on {peer.address}: the client was closed while the call was under way"


class TestCalls:
    """What a call says and hears."""

    def test_a_deadline_cancels_the_call_at_the_server(self, make_http2: Make) -> None:
        """And the next call is made all the same."""
        told: list[tuple[int, int, int, bytes]] = []
        came = threading.Event()

        def script(peer: PeerConnection) -> None:
            peer.greet()
            stream_id, _, message = peer.request()
            peer.send(answer(stream_id, response(message)))
            _, header, _ = peer.request()
            assert header["grpc-timeout"] == "50000u"
            told.append(peer.until(FrameType.RST_STREAM))
            came.set()
            answer_all(peer)

        with Peer(script) as peer, make_http2(peer.address) as client:
            # On a connection that is up, so that the call with little time is sent at once.
            assert infer(client) == 7
            with pytest.raises(DeadlineExceeded, match=r"ModelInfer on .* gave no answer within 0\.05 s"):
                infer(client, timeout_s=0.05)
            assert came.wait(BOUND_S)
            assert told == [(FrameType.RST_STREAM, 0, 3, (8).to_bytes(4))]
            assert infer(client) == 7

    def test_a_deadline_holds_while_a_server_takes_the_request_bit_by_bit(self, make_http2: Make) -> None:
        """Each bit it takes is no reason to wait as long again."""
        pause = threading.Event()

        def dawdle(peer: PeerConnection) -> None:
            peer.greet(INITIAL_WINDOW_SIZE=2**31 - 1)
            peer.send(window_update(0, 1 << 30))
            stream_id, _, message = peer.request()
            peer.send(answer(stream_id, response(message)))
            _, flags, stream_id, _ = peer.until(FrameType.HEADERS)
            taken = 0
            while not flags & Flag.END_STREAM:
                if taken < 12 << 20:  # the rest at once, if there is one
                    pause.wait(0.001)
                _, flags, _, payload = peer.frame()
                taken += len(payload)
            peer.send(answer(stream_id, ModelInferResponse(model_name="m").SerializeToString()))

        with Peer(dawdle) as peer, make_http2(peer.address, share=None) as client:
            assert infer(client) == 7
            with pytest.raises(DeadlineExceeded):
                client.infer("m", x=np.zeros(24 << 20, np.uint8), timeout_s=0.2)

    def test_a_server_with_small_windows_gets_the_whole_request(self, make_http2: Make) -> None:
        """As it makes room."""

        def script(peer: PeerConnection) -> None:
            peer.greet(INITIAL_WINDOW_SIZE=1000)
            _, flags, stream_id, _ = peer.until(FrameType.HEADERS)
            message = b""
            while not flags & Flag.END_STREAM:
                _, flags, _, payload = peer.until(FrameType.DATA)
                message += payload
                peer.send(window_update(stream_id, len(payload)), window_update(0, len(payload)))
            peer.send(answer(stream_id, response(message)))

        x = np.arange(30_000)
        with Peer(script) as peer, make_http2(peer.address) as client:
            np.testing.assert_array_equal(client.infer("m", x=x)["x"], x)

    def test_an_answer_may_come_in_any_pieces(self, make_http2: Make) -> None:
        """With other frames between, and large ones in place."""

        def script(peer: PeerConnection) -> None:
            peer.greet(INITIAL_WINDOW_SIZE=1 << 20)
            peer.send(window_update(0, 1 << 24))
            for _ in range(2):
                stream_id, _, message = peer.request()
                rest = prefixed(response(message))
                peer.send(headers(stream_id, [(":status", "103")]), headers(stream_id, OPENING, pieces=3))
                while rest:
                    size = len(rest) // 2 + 1
                    peer.send(
                        frame(FrameType.PING, 0, 0, bytes(8)), data(stream_id, rest[:size], padding=size % 3 or None)
                    )
                    rest = rest[size:]
                    assert peer.until(FrameType.PING)[1] == Flag.ACK
                peer.send(settings(), headers(stream_id, [("grpc-status", "0")], end=True))

        x = np.arange(100_000)
        with Peer(script) as peer, make_http2(peer.address) as client:
            for _ in range(2):
                found = client.infer("m", x=x)["x"]
                np.testing.assert_array_equal(found, x)
                assert not found.flags.writeable

    def test_attempts_are_counted_and_told(self, make_http2: Make) -> None:
        """The server knows how many came before."""
        said: list[str | None] = []

        def script(peer: PeerConnection) -> None:
            peer.greet()
            while True:
                stream_id, header, _ = peer.request()
                said.append(header.get("grpc-previous-rpc-attempts"))
                peer.send(headers(stream_id, [*OPENING, ("grpc-status", "14"), ("grpc-message", "busy")], end=True))

        with (
            Peer(script) as peer,
            make_http2(peer.address, retry=QUICK) as client,
            pytest.raises(Unavailable, match="busy"),
        ):
            infer(client)
        assert said == [None, "1", "2", "3"]

    def test_advice_not_to_come_back_is_heeded(self, make_http2: Make) -> None:
        """There is one attempt."""
        busy = failing(("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1"))
        told: list[Any] = []
        with (
            Peer(busy) as peer,
            make_http2(peer.address, retry=QUICK, on_call=told.append) as client,
            pytest.raises(Unavailable),
        ):
            infer(client)
        assert [each.code for each in told] == ["UNAVAILABLE"]

    def test_waiting_for_another_attempt_ends_with_the_deadline(self, make_http2: Make) -> None:
        """Whatever the server's advice."""
        busy = failing(("grpc-status", "14"), ("grpc-retry-pushback-ms", "999999"))
        with Peer(busy) as peer, make_http2(peer.address) as client, pytest.raises(DeadlineExceeded):
            infer(client, timeout_s=0.05)

    def test_a_call_without_a_limit_does_not_wait_for_days(self, make_http2: Make) -> None:
        """It fails with the server's refusal, at once."""
        busy = failing(("grpc-status", "14"), ("grpc-message", "busy"), ("grpc-retry-pushback-ms", "999999999"))
        with Peer(busy) as peer, make_http2(peer.address) as client, pytest.raises(Unavailable, match="busy"):
            infer(client, timeout_s=None)

    @pytest.mark.parametrize(
        ("script", "expected"),
        [
            (failing(("grpc-status", "12"), ("grpc-message", "not%20here")), Unimplemented),
            (failing(("grpc-status", "13")), ServerFault),
            (failing(("grpc-status", "404")), ServerFault),
        ],
    )
    def test_a_failure_has_the_class_of_its_status(self, make_http2: Make, script: Any, expected: type) -> None:
        """And the connection goes on."""
        with Peer(script) as peer, make_http2(peer.address, retry=None) as client:
            for _ in range(2):
                with pytest.raises(expected):
                    infer(client)
            assert peer.connections == 1

    def test_an_answer_beyond_the_limit_is_refused(self, make_http2: Make) -> None:
        """Before it is read; the server is told."""
        told = threading.Event()

        def script(peer: PeerConnection) -> None:
            peer.greet()
            stream_id, _, _ = peer.request()
            peer.send(headers(stream_id, OPENING), data(stream_id, (5000).to_bytes(5)))
            peer.until(FrameType.RST_STREAM)
            told.set()
            answer_all(peer)

        with Peer(script) as peer, make_http2(peer.address, max_message_bytes=4000) as client:
            with pytest.raises(ResourceExhausted) as raised:
                infer(client)
            assert raised.value.message == (
                "the server's answer has 5000 bytes, and at most 4000 are accepted; "
                "raise max_message_bytes of the client"
            )
            assert told.wait(BOUND_S)
            assert infer(client) == 7

    def test_a_server_that_breaks_http2_is_unavailable(self, make_http2: Make) -> None:
        """It is told why."""
        told: list[bytes] = []

        def script(peer: PeerConnection) -> None:
            peer.greet()
            stream_id, _, _ = peer.request()
            peer.send(frame(FrameType.HEADERS, Flag.END_HEADERS, stream_id, b"\xbe"))
            told.append(peer.until(FrameType.GOAWAY)[3])

        with (
            Peer(script) as peer,
            make_http2(peer.address, retry=None) as client,
            pytest.raises(Unavailable, match="a header refers to entry 62"),
        ):
            infer(client)
        assert told == [bytes(4) + (9).to_bytes(4)]

    def test_bytes_that_are_no_answer_are_a_bad_response(self, make_http2: Make) -> None:
        """As over the channel; a large one too."""

        def script(peer: PeerConnection) -> None:
            peer.greet()
            for size in (1, 200_000):
                peer.send(answer(peer.request()[0], b"\xff" * size))

        with Peer(script) as peer, make_http2(peer.address) as client:
            for _ in range(2):
                with pytest.raises(BadResponse):
                    infer(client)
