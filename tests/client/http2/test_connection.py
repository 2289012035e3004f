"""One HTTP/2 connection without I/O: whatever a server sends, however it is cut up."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_client._http2 import flow_control
from sardonyx_client._http2.errors import Http2RpcError
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import Flag, FrameType, frame, rst_stream, window_update
from tests.client.http2.wire import (
    OPENING,
    TRAILERS,
    answer,
    connected,
    data,
    feed,
    frames_of,
    headers,
    prefixed,
    settings,
)

Code = grpc.StatusCode


def failure_of(received: bytes, *, max_message_bytes: int | None = None) -> Http2RpcError:
    """How a call ends to which a server says this."""
    connection = connected(max_message_bytes)
    stream = connection.open_stream(b"\x83", b"request")
    feed(connection, received)
    assert stream.response.ended
    with pytest.raises(Http2RpcError) as raised:
        stream.response.message()
    return raised.value


class TestRequests:
    """What a client sends."""

    def test_settings_come_first_and_are_acknowledged(self) -> None:
        """No header table, no push, the widest windows."""
        connection = connected()
        assert connection.usable
        fresh = type(connection)(connection._header_decoder, None)
        assert not fresh.usable
        assert b"".join(fresh.data_to_send()) == flow_control.CONNECTION_PREFACE
        feed(fresh, settings(MAX_FRAME_SIZE=1 << 20))
        assert list(frames_of(b"".join(fresh.data_to_send()))) == [(FrameType.SETTINGS, Flag.ACK, 0, b"")]

    def test_a_small_request_is_a_header_and_its_data(self) -> None:
        """In order, the stream ended."""
        connection = connected()
        stream = connection.open_stream(b"block", b"message")
        assert stream.sent
        assert list(frames_of(b"".join(connection.data_to_send()))) == [
            (FrameType.HEADERS, Flag.END_HEADERS, 1, b"block"),
            (FrameType.DATA, Flag.END_STREAM, 1, prefixed(b"message")),
        ]
        assert connection.open_stream(b"", b"").id == 3

    @given(
        message=st.binary(max_size=400),
        window=st.integers(0, 60),
        updates=st.lists(st.tuples(st.booleans(), st.integers(1, 90)), max_size=60),
    )
    def test_windows_are_never_overrun(self, message: bytes, window: int, updates: list[tuple[bool, int]]) -> None:
        """And what is sent is the request, whatever the pieces."""
        connection = connected(INITIAL_WINDOW_SIZE=window)
        stream = connection.open_stream(b"", message)
        sent, allowed = b"", window
        for whole, size in [(False, 0), *updates, (False, len(message) + 5)]:
            if size and not whole:
                feed(connection, window_update(1, size))
                allowed += size
            elif size:
                # A new initial window moves those that are open, below zero even.
                feed(connection, settings(INITIAL_WINDOW_SIZE=size))
                allowed += size - window
                window = size
            before = len(sent)
            for kind, flags, _, payload in frames_of(b"".join(connection.data_to_send())):
                if kind == FrameType.DATA:
                    sent += payload
                    assert bool(flags & Flag.END_STREAM) == (len(sent) == len(message) + 5)
            # A window that shrinks takes nothing back.
            assert len(sent) <= max(allowed, before)
        if stream.sent:
            assert sent == prefixed(message)
        else:
            assert prefixed(message).startswith(sent)

    def test_frames_are_no_larger_than_the_server_wants(self) -> None:
        """Nor does the connection's window give way to a stream's."""
        connection = connected(INITIAL_WINDOW_SIZE=1 << 20)
        connection.open_stream(b"", bytes(100_000))
        sizes = [
            len(payload)
            for kind, _, _, payload in frames_of(b"".join(connection.data_to_send()))
            if kind == FrameType.DATA
        ]
        assert sizes == [16384, 16384, 16384, 16383]
        feed(connection, settings(MAX_FRAME_SIZE=1 << 20) + window_update(0, 100_000))
        sizes = [
            len(payload)
            for kind, _, _, payload in frames_of(b"".join(connection.data_to_send()))
            if kind == FrameType.DATA
        ]
        assert sizes == [100_005 - 65535]

    def test_no_more_is_handed_out_than_the_socket_has_taken_and_a_mebibyte(self) -> None:
        """Of a call that is given up meanwhile the rest is never sent; the others are, to the last byte."""
        connection = connected(INITIAL_WINDOW_SIZE=1 << 30)
        feed(connection, window_update(0, 1 << 30))
        mebibyte = 1 << 20
        first, given_up, last = (connection.open_stream(b"", bytes((number,)) * mebibyte) for number in (1, 2, 3))

        def sent() -> dict[int, int]:
            sizes: dict[int, int] = {}
            for kind, _, stream_id, payload in frames_of(b"".join(connection.data_to_send())):
                if kind == FrameType.DATA:
                    sizes[stream_id] = sizes.get(stream_id, 0) + len(payload)
            return sizes

        assert sent() == {first.id: mebibyte}
        connection.cancel_stream(given_up)
        assert sent() == {}
        assert connection.data_sent()
        assert sent() == {first.id: 5, last.id: mebibyte - 5}
        assert connection.data_sent()
        assert sent() == {last.id: 10}
        assert not connection.data_sent()

    @pytest.mark.parametrize("says_so", [True, False])
    def test_a_request_that_is_refused_before_it_is_sent_is_reset_once(self, *, says_so: bool) -> None:
        """By the server, where it says so in the same breath; else by the client."""
        connection = connected(INITIAL_WINDOW_SIZE=10)
        stream = connection.open_stream(b"", bytes(100))
        connection.data_to_send()
        refusal = headers(1, (*OPENING, ("grpc-status", "14")), end=True)
        feed(connection, refusal + (rst_stream(1, 0) if says_so else b""))
        assert stream.response.ended
        resets = [] if says_so else [(FrameType.RST_STREAM, 0, 1, (8).to_bytes(4))]
        assert list(frames_of(b"".join(connection.data_to_send()))) == resets
        feed(connection, window_update(0, 1000))
        assert not connection.data_to_send()

    def test_a_call_that_is_given_up_is_reset_and_what_still_comes_is_dropped(self) -> None:
        """Once; a call that has ended needs no reset."""
        connection = connected()
        stream, other = connection.open_stream(b"", b""), connection.open_stream(b"", b"")
        connection.data_to_send()
        connection.cancel_stream(stream)
        connection.cancel_stream(stream)
        assert b"".join(connection.data_to_send()) == rst_stream(1, 8)
        feed(connection, answer(1, b"late") + answer(3, b"other"))
        assert other.response.message() == b"other"
        connection.cancel_stream(other)
        assert connection.data_to_send() == []


class TestAnswers:
    """What a server says."""

    @given(
        message=st.binary(max_size=300) | st.builds(bytes, st.integers(0, 300_000)),
        cuts=st.lists(st.integers(1, 5000), max_size=5),
        padding=st.none() | st.integers(0, 255),
        at_once=st.integers(1, 4000) | st.just(1 << 20),
        noise=st.sampled_from(
            [
                b"",
                frame(FrameType.PING, 0, 0, b"12345678"),
                frame(99, 255, 7, b"unknown"),
                window_update(0, 9),
                settings(),
            ]
        ),
        pieces=st.integers(1, 4),
    )
    def test_any_cut_gives_the_same_message(  # hypothesis calls it by name
        self, message: bytes, cuts: list[int], padding: int | None, at_once: int, noise: bytes, pieces: int
    ) -> None:
        """Frames of any size, padded or not, other frames between them, read in pieces of any size."""
        rest, received = prefixed(message), headers(1, [(":status", "103")]) + headers(1, OPENING, pieces=pieces)
        for size in cuts:
            received += noise + data(1, rest[:size], padding=padding)
            rest = rest[size:]
        while rest:
            received += data(1, rest[: 1 << 20], padding=None)
            rest = rest[1 << 20 :]
        received += noise + headers(1, TRAILERS, end=True, pieces=pieces)
        connection = connected()
        stream = connection.open_stream(b"", b"")
        if len(received) > 20_000:
            at_once = max(at_once, 997)
        feed(connection, received, at_once=at_once)
        assert stream.response.ended
        assert bytes(stream.response.message()) == message
        assert memoryview(stream.response.message()).readonly

    @given(received=st.binary(max_size=200), at_once=st.integers(1, 50))
    def test_no_bytes_make_it_fail_otherwise(self, received: bytes, at_once: int) -> None:
        """A broken connection, or a call that goes on or ends."""
        for before in (b"", settings(), settings() + headers(1, OPENING) + data(1, prefixed(b"abc"))):
            _try(before + received, at_once)

    @given(
        script=st.lists(
            st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 4), st.binary(max_size=30)), max_size=8
        )
    )
    def test_no_frames_make_it_fail_otherwise(self, script: list[tuple[int, int, int, bytes]]) -> None:
        """Well-formed frames in an order that makes no sense."""
        _try(settings() + b"".join(frame(*each) for each in script), 1 << 20)

    def test_pings_are_answered(self) -> None:
        """With what they carry; answers to ours are not."""
        connection = connected()
        feed(connection, frame(FrameType.PING, 0, 0, b"12345678") + frame(FrameType.PING, Flag.ACK, 0, b"abcdefgh"))
        assert b"".join(connection.data_to_send()) == frame(FrameType.PING, Flag.ACK, 0, b"12345678")

    def test_the_connections_window_is_given_back(self) -> None:
        """Long before it is used up."""
        connection = connected()
        connection.window_used((1 << 30) - 1)
        assert connection.data_to_send() == []
        connection.window_used(1)
        assert b"".join(connection.data_to_send()) == window_update(0, 1 << 30)

    @pytest.mark.parametrize(
        ("encoding", "packed"),
        [("gzip", gzip.compress(b"message" * 9)), ("deflate", zlib.compress(b"message" * 9))],
    )
    def test_a_compressed_message_is_unpacked(self, encoding: str, packed: bytes) -> None:
        """In the ways that were offered, up to the limit of messages."""
        said = headers(1, [*OPENING, ("grpc-encoding", encoding)])
        end = headers(1, TRAILERS, end=True)
        connection = connected(63)
        stream = connection.open_stream(b"", b"")
        feed(connection, said + data(1, prefixed(packed, flag=1)) + end)
        assert stream.response.message() == b"message" * 9
        failure = failure_of(said + data(1, prefixed(packed, flag=1)) + end, max_message_bytes=62)
        assert failure.code() is Code.RESOURCE_EXHAUSTED
        assert "more than 62 bytes once it is decompressed" in failure.details()
        failure = failure_of(said + data(1, prefixed(packed[:-5], flag=1)) + end)
        assert (failure.code(), failure.details()) == (Code.INTERNAL, f"the {encoding} of the answer is cut off")

    def test_the_last_stream_that_a_goodbye_names_goes_on(self) -> None:
        """Later ones were not looked at; new ones cannot begin."""
        connection = connected()
        first, second = connection.open_stream(b"", b""), connection.open_stream(b"", b"")
        feed(connection, frame(FrameType.GOAWAY, 0, 0, (1).to_bytes(4) + bytes(4)))
        assert not connection.usable
        assert not first.response.ended
        with pytest.raises(Http2RpcError) as raised:
            second.response.message()
        assert raised.value.unprocessed
        feed(connection, answer(1, b"first"))
        assert first.response.message() == b"first"

    def test_the_server_limits_calls_at_once(self) -> None:
        """Until one has ended."""
        connection = connected(MAX_CONCURRENT_STREAMS=1)
        connection.open_stream(b"", b"")
        assert not connection.usable
        feed(connection, answer(1, b""))
        assert connection.usable

    def test_calls_of_a_lost_connection_are_unavailable(self) -> None:
        """Those whose request was not sent to its end were certainly not looked at."""
        connection = connected(INITIAL_WINDOW_SIZE=20)
        sent, unsent = connection.open_stream(b"", b"short"), connection.open_stream(b"", bytes(100))
        connection.connection_lost("gone")
        for stream, unprocessed in ((sent, False), (unsent, True)):
            with pytest.raises(Http2RpcError) as raised:
                stream.response.message()
            assert (raised.value.code(), raised.value.unprocessed) == (Code.UNAVAILABLE, unprocessed)


class TestFailures:
    """How calls end that do not end well."""

    def test_a_status_brings_its_text_and_metadata(self) -> None:
        """Decoded: percent signs, base64 without padding."""
        trailers = [
            ("grpc-status", "14"),
            ("grpc-message", "%E6%9D%B1 %zz%"),
            ("grpc-status-details-bin", "AQID/w"),
            ("other-bin", "!"),
            ("grpc-retry-pushback-ms", "250"),
        ]
        failure = failure_of(headers(1, [*OPENING, *trailers], end=True))
        assert (failure.code(), failure.details()) == (Code.UNAVAILABLE, "東 %zz%")
        assert dict(failure.trailing_metadata())["grpc-status-details-bin"] == b"\x01\x02\x03\xff"
        assert (failure.pushback_ms, failure.committed) == (250, False)
        failure = failure_of(headers(1, OPENING) + headers(1, [("grpc-status", "14")], end=True))
        assert (failure.pushback_ms, failure.committed) == (None, True)

    @pytest.mark.parametrize(("pushback", "ms"), [("-1", -1), ("soon", -1), ("", -1), ("0", 0)])
    def test_advice_that_is_no_number_means_no(self, pushback: str, ms: int) -> None:
        """As gRPC's proposal A6 has it."""
        trailers = [("grpc-status", "14"), ("grpc-retry-pushback-ms", pushback)]
        assert failure_of(headers(1, [*OPENING, *trailers], end=True)).pushback_ms == ms

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            ("400", Code.INTERNAL),
            ("401", Code.UNAUTHENTICATED),
            ("403", Code.PERMISSION_DENIED),
            ("404", Code.UNIMPLEMENTED),
            ("429", Code.UNAVAILABLE),
            ("502", Code.UNAVAILABLE),
            ("503", Code.UNAVAILABLE),
            ("504", Code.UNAVAILABLE),
            ("418", Code.UNKNOWN),
            ("200", Code.UNKNOWN),
        ],
    )
    def test_an_answer_of_http_alone_has_the_status_that_grpc_gives_it(self, status: str, code: Any) -> None:
        """With a page behind it, or without."""
        fields = [(":status", status), ("content-type", "text/html")]
        assert failure_of(headers(1, fields, end=True)).code() is code
        if status != "200":
            assert failure_of(headers(1, fields) + data(1, b"<html>", end=True)).code() is code

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (0, Code.INTERNAL),
            (1, Code.INTERNAL),
            (2, Code.INTERNAL),
            (7, Code.UNAVAILABLE),
            (8, Code.CANCELLED),
            (11, Code.RESOURCE_EXHAUSTED),
            (12, Code.PERMISSION_DENIED),
            (4711, Code.INTERNAL),
        ],
    )
    def test_a_reset_has_the_status_that_grpc_gives_it(self, error: int, code: Any) -> None:
        """One that refuses says that nothing was done."""
        failure = failure_of(headers(1, OPENING) + rst_stream(1, error))
        assert (failure.code(), failure.unprocessed) == (code, error == 7)

    @pytest.mark.parametrize(
        ("received", "code", "text"),
        [
            (headers(1, TRAILERS, end=True), Code.INTERNAL, "sent no whole message"),
            (
                headers(1, OPENING) + data(1, prefixed(b"x")[:-1]) + headers(1, TRAILERS, end=True),
                Code.INTERNAL,
                "whole",
            ),
            (headers(1, OPENING) + data(1, prefixed(b"x") * 2), Code.INTERNAL, "a second message in a unary call"),
            (headers(1, OPENING) + data(1, prefixed(b"x"), end=True), Code.INTERNAL, "without a status"),
            (headers(1, OPENING) * 2, Code.INTERNAL, "a second header"),
            (headers(1, OPENING) + data(1, prefixed(b"x", flag=2)), Code.INTERNAL, "begins with 2, not 0 or 1"),
            (headers(1, OPENING) + data(1, b"\0\xff\xff\xff\xff"), Code.RESOURCE_EXHAUSTED, "has 4294967295 bytes"),
            (data(1, prefixed(b"x")), Code.INTERNAL, "a message before its header"),
            (
                headers(1, [*OPENING, ("grpc-encoding", "snappy")])
                + data(1, prefixed(b"x", flag=1))
                + headers(1, TRAILERS, end=True),
                Code.INTERNAL,
                "compressed as 'snappy', which was not offered",
            ),
            (headers(1, [*OPENING, ("grpc-status", "99")], end=True), Code.UNKNOWN, ""),
        ],
    )
    def test_an_answer_that_breaks_grpcs_rules_fails_the_call(self, received: bytes, code: Any, text: str) -> None:
        """Only this one: the connection goes on."""
        failure = failure_of(received)
        assert failure.code() is code
        assert text in failure.details()

    @pytest.mark.parametrize(
        "received",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            frame(FrameType.PING, 0, 0, bytes(8)),
            settings() + frame(FrameType.DATA, 0, 3, b""),
            settings() + frame(FrameType.DATA, 0, 2, b""),
            settings() + headers(5, OPENING),
            settings() + rst_stream(9, 0),
            settings() + b"\x20\0\0" + bytes(6),
            settings() + frame(FrameType.PING, 0, 0, b""),
            settings() + frame(FrameType.PUSH_PROMISE, 0, 1, bytes(4)),
            settings() + frame(FrameType.SETTINGS, 0, 0, b"1"),
            settings() + frame(FrameType.SETTINGS, 0, 1, b""),
            settings() + frame(FrameType.GOAWAY, 0, 0, b""),
            settings() + frame(FrameType.RST_STREAM, 0, 1, b""),
            settings() + window_update(0, 0),
            settings() + window_update(0, 2**31 - 1),
            settings() + frame(FrameType.CONTINUATION, 0, 1, b""),
            settings() + frame(FrameType.HEADERS, 0, 1, b"") + frame(FrameType.PING, 0, 0, bytes(8)),
            settings() + frame(FrameType.HEADERS, 0, 1, b"") + frame(FrameType.CONTINUATION, 0, 3, b""),
            settings()
            + frame(FrameType.HEADERS, 0, 1, bytes(60_000))
            + frame(FrameType.CONTINUATION, 0, 1, bytes(6000)),
            settings() + frame(FrameType.HEADERS, Flag.PADDED, 1, b"\x01"),
            settings() + frame(FrameType.HEADERS, Flag.PRIORITY, 1, b"1"),
            settings() + frame(FrameType.HEADERS, Flag.END_HEADERS, 1, b"\xbe"),
            settings(MAX_FRAME_SIZE=1),
            settings(INITIAL_WINDOW_SIZE=2**31),
        ],
    )
    def test_what_breaks_http_breaks_the_connection(self, received: bytes) -> None:
        """With the reason."""
        connection = connected()
        fresh = type(connection)(connection._header_decoder, None)
        fresh.open_stream(b"", b"")
        with pytest.raises(Http2ConnectionError, match=r"the server|a header"):
            feed(fresh, received)

    def test_a_port_of_another_protocol_is_named_as_such(self) -> None:
        """The metrics' port, for one: text read as a frame has a length that says nothing."""
        fresh = type(connected())(connected()._header_decoder, None)
        with pytest.raises(Http2ConnectionError) as raised:
            feed(fresh, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert str(raised.value) == "the server does not speak HTTP/2 without TLS: is this its gRPC port?"


def _try(received: bytes, at_once: int) -> None:
    connection = connected()
    fresh = type(connection)(connection._header_decoder, 1 << 16)
    stream = fresh.open_stream(b"", b"request")
    try:
        feed(fresh, received, at_once=at_once)
    except Http2ConnectionError:
        fresh.connection_lost("it broke")
    if stream.response.ended:
        with suppress(Http2RpcError):
            stream.response.message()
