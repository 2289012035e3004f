"""TLS on either transport, with grpcio's client and with raw sockets: who gets in, who does not, what goes over."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_server.rpc.lane.sockets.tls_handshakes import TlsHandshakes
from sardonyx_server.rpc.tls import Certificates, TlsFiles
from sardonyx_wire.http2.frames import PREFACE
from tests.certificates import Identity, TestAuthority, needs_openssl, said_by_openssl
from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.transports import BOUND_S, METHOD, STREAM_METHOD, TRANSPORTS, channel_to, opened, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.rpc.transports import Transport

pytestmark = needs_openssl

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class World:
    """Two authorities. The server's certificate is of the first; callers have one of each, and one out of date."""

    authority: TestAuthority
    other: TestAuthority
    server: Identity
    caller: Identity
    expired: Identity
    foreign: Identity

    def files(self, *, mutual: bool) -> TlsFiles:
        """The server's."""
        root = self.authority.certificate if mutual else None
        return TlsFiles(certificate=self.server.certificate, key=self.server.key, root=root)

    def credentials(self, caller: Identity | None = None, *, ca: TestAuthority | None = None) -> Any:
        """A caller's, for grpcio."""
        key, certificate = (None, None) if caller is None else caller.pem
        return grpc.ssl_channel_credentials((ca or self.authority).certificate.read_bytes(), key, certificate)

    def context(self, caller: Identity | None = None) -> ssl.SSLContext:
        """A caller's, for sockets."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.set_alpn_protocols(["h2"])
        if caller is not None:
            context.load_cert_chain(caller.certificate, caller.key)
        return context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Made once."""
    authority = TestAuthority(tmp_path_factory.mktemp("certificates"))
    other = TestAuthority(tmp_path_factory.mktemp("other"), "other")
    return World(
        authority=authority,
        other=other,
        server=authority.identity("server"),
        caller=authority.identity("caller"),
        expired=authority.identity("expired", days=-1),
        foreign=other.identity("foreign"),
    )


@contextmanager
def serving(name: str, world: World, *, mutual: bool = False) -> Iterator[Transport]:
    """A transport that echoes over TLS."""
    with opened(
        name,
        react=lambda message, call: call.reply(message),
        certificates=Certificates(world.files(mutual=mutual)),
        credentials=world.credentials(world.caller if mutual else None),
        options=(("grpc.max_receive_message_length", -1),),
    ) as transport:
        yield transport


@pytest.fixture(scope="module", params=TRANSPORTS)
def echo(request: pytest.FixtureRequest, world: World) -> Iterator[Transport]:
    """Each transport; it outlives the test."""
    with serving(request.param, world) as transport:
        yield transport


@pytest.fixture(scope="module", params=TRANSPORTS)
def mutual(request: pytest.FixtureRequest, world: World) -> Iterator[Transport]:
    """The same, where callers need a certificate."""
    with serving(request.param, world, mutual=True) as transport:
        yield transport


def connected(transport: Transport) -> socket.socket:
    """A plain connection to it."""
    host, _, port = transport.address.rpartition(":")
    return socket.create_connection((host, int(port)), BOUND_S)


def ask(channel: Any, message: bytes) -> Any:
    """Start a call on any channel; a future with the bytes of its answer."""
    return channel.unary_unary(METHOD).future(message, timeout=BOUND_S)


def refused(address: str, credentials: Any) -> str:
    """What a caller hears that does not get in."""
    with channel_to(address, credentials) as channel, pytest.raises(grpc.RpcError) as raised:
        ask(channel, b"ask").result()
    error: Any = raised.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    details: str = error.details()
    return details


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 100_000, 300_000, 8 * _MIB])
def test_messages_of_any_size_go_over_both_ways(echo: Transport, size: int) -> None:
    """Around the size of a record, and far beyond what a socket takes at once."""
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert echo.send(message).result() == message


def test_many_calls_at_once_on_several_connections(echo: Transport, world: World) -> None:
    """Small and large ones mixed."""
    messages = [b"%d" % number * (1 if number % 10 else 20_000) for number in range(300)]
    with channel_to(echo.address, world.credentials()) as other:
        calls = [(ask(channel, message), message) for message in messages for channel in (echo.channel, other)]
        for call, message in calls:
            assert call.result() == message


def test_streams_go_over_it(echo: Transport) -> None:
    """To and fro, message by message."""
    messages = [b"a", b"b" * 100_000, b"c"] * 20
    answers = echo.channel.stream_stream(STREAM_METHOD)(iter(messages), timeout=BOUND_S)
    assert len(list(answers)) == len(messages)


def test_http_2_is_agreed_upon_and_the_address_of_a_caller_is_known(world: World) -> None:
    """By ALPN; and what the engine is told of a caller is where it is, as without TLS."""
    certificates = Certificates(world.files(mutual=False))
    with (
        opened("lane", certificates=certificates, credentials=world.credentials()) as lane,
        Peer(lane.address, context=world.context()) as peer,
    ):
        raw: Any = peer.raw
        assert raw.selected_alpn_protocol() == "h2"
        stream_id = peer.start(b"who")
        _, call = lane.calls.take()
        assert call.peer() == f"ipv4:127.0.0.1:{raw.getsockname()[1]}"
        call.reply(b"you")
        assert peer.answer(stream_id).messages == [b"you"]


def test_a_caller_that_reads_slowly_gets_all(echo: Transport, world: World) -> None:
    """Little at a time, of an answer that is far more than sockets hold. Others are answered meanwhile."""
    message = bytes(range(256)) * 32 * 1024
    with Peer(echo.address, context=world.context()) as peer:
        stream_id = peer.start(message)
        for _ in range(20):
            assert echo.send(b"meanwhile").result() == b"meanwhile"
            peer.take()
        assert peer.answer(stream_id).messages == [message]


def test_a_caller_that_sends_single_bytes_is_understood(echo: Transport, world: World) -> None:
    """Of the handshake and of what follows: records come in pieces."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = world.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with connected(echo) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def trickle() -> None:
            for byte in outgoing.read():
                raw.sendall(bytes([byte]))

        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                trickle()
                incoming.write(raw.recv(65_536))
        tls.write(PREFACE + bytes(3) + b"\x04" + bytes(5))
        trickle()
        got = b""
        while len(got) < 9:
            try:
                got += tls.read(65_536)
            except ssl.SSLWantReadError:
                incoming.write(raw.recv(65_536))
        assert got[3] == 4  # its settings


def test_a_caller_with_a_certificate_gets_in(mutual: Transport) -> None:
    """Signed by the authority that the server was told."""
    assert mutual.send(b"abc").result() == b"abc"


@pytest.mark.parametrize("kind", [None, "expired", "foreign"])
def test_a_caller_without_a_valid_certificate_does_not(mutual: Transport, world: World, kind: str | None) -> None:
    """It has none, one out of date, or one of another authority. Whoever has a good one is answered as before."""
    refused(mutual.address, world.credentials(None if kind is None else getattr(world, kind)))
    assert mutual.send(b"abc").result() == b"abc"


def test_a_caller_does_not_trust_any_server(echo: Transport, world: World) -> None:
    """Ours has a certificate of another authority."""
    assert "CERTIFICATE_VERIFY_FAILED" in refused(echo.address, world.credentials(ca=world.other))


def test_who_ends_the_handshake_by_an_alert_hears_nothing_without_tls(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not know the authority, says so, and waits for the end of the connection. The log tells of it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=world.other.certificate).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    with caplog.at_level(logging.INFO, "sardonyx.lane"), serving("lane", world) as lane, connected(lane) as raw:

        def shake() -> None:
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    raw.sendall(outgoing.read())
                    incoming.write(raw.recv(65_536))

        with pytest.raises(ssl.SSLCertVerificationError):
            shake()
        raw.sendall(outgoing.read())
        assert raw.recv(65_536) == b""
        assert lane.send(b"abc").result() == b"abc"
    assert caplog.messages == ["a handshake of TLS failed"]
    assert "unknown ca" in caplog.records[0].__dict__["reason"]


def test_without_its_thread_of_handshakes_the_lane_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could connect any more, and nobody would know: the process is told to end, as where the loop fails."""

    def fail(*_: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(TlsHandshakes, "_see_clock", fail)
    with serving("lane", world) as lane, connected(lane) as raw:
        raw.sendall(b"\x16")
        until(lambda: bool(lane.lost))
        assert raw.recv(1) == b""
        assert [str(error) for error in lane.lost] == ["broken"]
        lane.lost.clear()


def test_a_plain_caller_is_refused_at_once(echo: Transport) -> None:
    """And is not kept waiting until the time of its call is up."""
    said = refused(echo.address, None)
    if echo.name == "lane":
        assert "Trying to connect an http1.x server (HTTP status 400)" in said
    assert echo.send(b"abc").result() == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x15\x03\x01\x00\x02\x02\x28",
        PREFACE,
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(range(256)) * 100,
    ],
)
def test_rubbish_ends_its_connection_only(echo: Transport, data: bytes) -> None:
    """Whatever is said in place of a handshake, or in the middle of it."""
    # It may be gone before all is sent.
    with connected(echo) as raw, suppress(OSError):
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(65_536):
            pass
    assert echo.send(b"abc").result() == b"abc"


def test_who_stalls_or_leaves_in_the_handshake_disturbs_nobody(echo: Transport, world: World) -> None:
    """Half of a ClientHello, and no more; or no more than that the connection is closed."""
    outgoing = ssl.MemoryBIO()
    tls = world.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    stalled = [connected(echo) for _ in range(20)]
    for number, raw in enumerate(stalled):
        raw.sendall(hello[: number * len(hello) // 20])
    for _ in range(20):
        with connected(echo) as raw:
            raw.sendall(hello)
    with channel_to(echo.address, world.credentials()) as channel:
        assert ask(channel, b"abc").result() == b"abc"
    for raw in stalled:
        raw.close()


def test_a_renewed_certificate_is_for_new_connections(world: World, tmp_path: Path) -> None:
    """Connections that there are go on. On either transport."""
    now_s = [0.0]
    for name in TRANSPORTS:
        certificate, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        shutil.copy(world.server.certificate, certificate)
        shutil.copy(world.server.key, key)
        files = TlsFiles(certificate=certificate, key=key, root=None)
        with opened(
            name,
            react=lambda message, call: call.reply(message),
            certificates=Certificates(files, lambda: now_s[0]),
            credentials=world.credentials(),
        ) as transport:
            assert transport.send(b"abc").result() == b"abc"
            shutil.copy(world.foreign.certificate, certificate)
            shutil.copy(world.foreign.key, key)
            now_s[0] += 10.0
            with channel_to(transport.address, world.credentials(ca=world.other)) as channel:
                assert ask(channel, b"abc").result() == b"abc"
            assert "CERTIFICATE_VERIFY_FAILED" in refused(transport.address, world.credentials())
            assert transport.send(b"abc").result() == b"abc"


def test_a_stop_answers_what_is_under_way_and_says_goodbye(world: World) -> None:
    """And the end of the connection is said in TLS, so that nobody can have cut it off."""
    with opened("lane", certificates=Certificates(world.files(mutual=False)), credentials=world.credentials()) as lane:
        context = world.context()
        with Peer(lane.address, context=context) as peer, connected(lane) as stalled:
            peer.raw.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # it is an SSLSocket
            stream_id = peer.start(b"ask")
            _, call = lane.calls.take()
            over = lane.serving.stop_server(BOUND_S)
            peer.read_until(lambda: peer.goaway is not None)
            call.reply(b"answer")
            assert peer.answer(stream_id).messages == [b"answer"]
            assert over.wait(BOUND_S)
            while peer.take():
                pass
            assert peer.closed
            # Nobody waits for a handshake that has not begun.
            assert stalled.recv(1) == b""


def test_tls_1_1_is_not_spoken(echo: Transport) -> None:
    """The ciphers of that time are offered, so that it is the version that is refused."""
    said = said_by_openssl(echo.address, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    # gRPC's core hangs up without a word.
    assert ("alert protocol version" if echo.name == "lane" else ":error:") in said


def test_renegotiation_is_refused(echo: Transport) -> None:
    """A handshake within a connection costs the server more than the caller. R asks for it."""
    said = said_by_openssl(echo.address, "-tls1_2", typed=b"R\n")
    assert ("no renegotiation" if echo.name == "lane" else ":error:") in said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(world: World, version: ssl.TLSVersion) -> None:
    """Without a signature, which is what a handshake costs."""
    context = world.context()
    context.minimum_version = context.maximum_version = version
    with serving("lane", world) as lane:
        with Peer(lane.address, context=context) as peer:
            assert peer.ask(b"abc") == b"abc"
            raw: Any = peer.raw
            session = raw.session
        host, _, port = lane.address.rpartition(":")
        with (
            socket.create_connection((host, int(port)), BOUND_S) as plain,
            context.wrap_socket(plain, server_hostname=host, session=session) as again,
        ):
            assert again.version() == f"TLSv{version.name[-3:].replace('_', '.')}"
            assert again.session_reused


def test_the_log_says_who_did_not_get_in_and_why(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each kind once a minute."""
    with caplog.at_level(logging.INFO, "sardonyx.lane"), serving("lane", world, mutual=True) as lane:
        for _ in range(2):
            refused(lane.address, world.credentials())
            refused(lane.address, None)
        assert lane.send(b"abc").result() == b"abc"
    said = {record.getMessage(): record.__dict__.get("reason") for record in caplog.records}
    assert said == {
        "a handshake of TLS failed": "peer did not return a certificate",
        "a caller speaks HTTP/2 without TLS where gRPC is spoken, HTTP/2 over TLS": None,
    }
    assert len(caplog.records) == 2
    assert all(record.__dict__["peer"].startswith("ipv4:127.0.0.1:") for record in caplog.records)


def test_http_1_is_answered_within_tls_and_without(world: World) -> None:
    """As curl would hear it: that it is the wrong port, or the wrong beginning."""
    with serving("lane", world) as lane:
        with connected(lane) as raw:
            raw.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            with raw.makefile("rb") as said:
                answer = said.read()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"This port speaks gRPC, which is HTTP/2 over TLS." in answer
        context = world.context()
        context.set_alpn_protocols(["http/1.1"])
        with connected(lane) as raw, context.wrap_socket(raw, server_hostname="localhost") as secured:
            secured.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            with secured.makefile("rb") as said:
                answer = said.read()
        assert answer.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
