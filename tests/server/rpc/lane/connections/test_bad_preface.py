"""Callers that speak something else than HTTP/2 on the port for gRPC: what they hear, and what the log says."""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from sardonyx_server.rpc.lane.connections.bad_preface import BadPreface, BadPrefaceLog
from sardonyx_wire.http2.frames import PREFACE, FrameType
from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.transports import BOUND_S, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.rpc.transports import Transport


@pytest.fixture(scope="module")
def lane() -> Iterator[Transport]:
    """One that echoes."""
    with opened("lane", react=lambda message, call: call.reply(message)) as transport:
        yield transport


def connected(lane: Transport) -> socket.socket:
    """A plain connection to it."""
    host, _, port = lane.address.rpartition(":")
    return socket.create_connection((host, int(port)), BOUND_S)


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_http_1_is_answered_in_its_own_words(lane: Transport, method: str) -> None:
    """As curl would hear it: a status, and a text that says where probes and metrics are."""
    connection = http.client.HTTPConnection(lane.address, timeout=BOUND_S)
    connection.request(method, "/v2/health/ready", body=b"x" * 100_000 if method == "POST" else None)
    response = connection.getresponse()
    said = (
        b"This port speaks gRPC, which is HTTP/2. Metrics and probes are on the port that --metrics-port says, 8002 "
        b"unless set.\n"
    )
    assert response.read() == (b"" if method == "HEAD" else said)
    connection.close()


def test_nothing_is_said_to_a_caller_before_it_speaks(lane: Transport) -> None:
    """Our settings in front of an answer of HTTP/1.1 would be rubbish. A preface is answered by them, as the first."""
    with connected(lane) as connection:
        connection.sendall(PREFACE[:-1])
        with connected(lane) as other:
            other.sendall(PREFACE)
            # The lane has come round: what it had to say to the first, it has said.
            assert other.recv(9)[3] == FrameType.SETTINGS
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(BOUND_S)
        connection.sendall(PREFACE[-1:])
        assert connection.recv(9)[3] == FrameType.SETTINGS


def test_a_caller_with_tls_fails_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    """OpenSSL's own words are "wrong version number". Others are served as before."""
    context = ssl.create_default_context()
    with (
        caplog.at_level(logging.INFO, "sardonyx.lane"),
        opened("lane", react=lambda message, call: call.reply(message)) as lane,
    ):
        for _ in range(2):
            with connected(lane) as connection, pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
                context.wrap_socket(connection, server_hostname="localhost")
        assert lane.send(b"abc").result(BOUND_S) == b"abc"
    assert caplog.messages.count("a caller speaks TLS where gRPC is spoken, HTTP/2 without TLS") == 1


def test_who_stops_before_a_caller_has_spoken_says_its_settings_first() -> None:
    """Goodbye is no way to begin."""
    with opened("lane", react=lambda message, call: call.reply(message)) as lane, connected(lane) as connection:
        connection.sendall(PREFACE[:5])
        with Peer(lane.address) as peer:
            peer.settle()
        assert lane.serving.stop_server(0.0).wait(BOUND_S)
        with connection.makefile("rb") as said:
            assert said.read(9)[3] == FrameType.SETTINGS


@pytest.mark.parametrize(
    ("data", "speaks"),
    [
        (b"GET / HTTP/1.1\r\n", "HTTP/1.1"),
        (b"PATCH /x", "HTTP/1.1"),
        (b"GETAWAY", "something else"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (b"\x16\x04", "something else"),
        (b"PRI * HTTP/1.1", "something else"),
        (b"\x00", "something else"),
    ],
)
def test_what_is_spoken_is_known_by_the_first_bytes(data: bytes, speaks: str) -> None:
    """Only who asks in HTTP/1 is answered in it."""
    stranger = BadPreface(data)
    assert stranger.speaks == speaks
    assert bool(stranger.answer) == (speaks == "HTTP/1.1")


def test_strangers_are_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A port that is scanned fills no disk. With the address: it may be somebody's own client."""
    now_s = [0.0]
    bad_prefaces = BadPrefaceLog(clock=lambda: now_s[0])
    with caplog.at_level(logging.INFO, "sardonyx.lane"):
        for now_s[0] in (0.0, 1.0, 59.0, 60.0):
            bad_prefaces.record("ipv4:127.0.0.1:5", BadPreface(b"\x16\x03\x01"))
    assert caplog.messages == ["a caller speaks TLS where gRPC is spoken, HTTP/2 without TLS"] * 2
    assert [record.__dict__["peer"] for record in caplog.records] == ["ipv4:127.0.0.1:5"] * 2
