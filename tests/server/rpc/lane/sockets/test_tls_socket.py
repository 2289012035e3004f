"""TLS over a socket that does not block: what is written arrives whole and in order, however little a socket takes."""

from __future__ import annotations

import queue
import select
import socket
import ssl
import sys
import time
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if sys.platform != "linux":
    pytest.skip("the lane needs Linux", allow_module_level=True)

from sardonyx_server.rpc.lane.sockets.tls_handshakes import TlsHandshakes
from sardonyx_server.rpc.lane.sockets.tls_socket import NotTls, TlsSocket
from sardonyx_server.rpc.lane.sockets.tls_transport import TlsTransport
from tests.certificates import TestAuthority, needs_openssl
from tests.server.rpc.lane.sockets.openssl_client import OpenSslClient

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_openssl

BOUND_S = 60.0


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, and the one of a client that trusts it."""
    authority = TestAuthority(tmp_path_factory.mktemp("certificates"))
    own = authority.identity("own")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(own.certificate, own.key)
    return server, ssl.create_default_context(cafile=authority.certificate)


class Client:
    """The other end: a TLS whose bytes a test sends and takes as it likes."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self.raw = raw
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def send(self, data: bytes = b"") -> None:
        """Encrypt, and send all."""
        if data:
            self.tls.write(data)
        self.raw.sendall(self.outgoing.read())

    def read(self, size: int) -> bytes:
        """Take so much from the socket, and decrypt what is whole."""
        with suppress(BlockingIOError):
            self.incoming.write(self.raw.recv(size, socket.MSG_DONTWAIT))
        got = []
        with suppress(ssl.SSLWantReadError):
            while part := self.tls.read(65_536):
                got.append(part)
        return b"".join(got)


def pair(stack: ExitStack, contexts: tuple[ssl.SSLContext, ssl.SSLContext], *, small: bool = False) -> tuple[Any, Any]:
    """(server's, client's), their handshake done. ``small``: the sockets take little at a time."""
    near, far = socket.socketpair()
    if small:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    near.setblocking(False)
    server = stack.enter_context(TlsSocket(near, contexts[0]))
    client = Client(stack.enter_context(far), contexts[1])
    shaken = [False, False]
    until_s = time.monotonic() + BOUND_S
    while not all(shaken):
        assert time.monotonic() < until_s
        if not shaken[1]:
            try:
                client.tls.do_handshake()
                shaken[1] = True
            except ssl.SSLWantReadError:
                pass
            client.send()
        if not shaken[0]:
            try:
                server.do_handshake()
                shaken[0] = True
            except BlockingIOError:
                pass
        if not shaken[1]:
            with suppress(BlockingIOError):
                client.incoming.write(far.recv(65_536, socket.MSG_DONTWAIT))
    return server, client


def openssl_pair(stack: ExitStack, context: ssl.SSLContext) -> tuple[TlsSocket, OpenSslClient]:
    """(server's, client's), their handshake done; the sockets take little at a time."""
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    near.setblocking(False)
    stack.enter_context(far).setblocking(False)
    server, client = stack.enter_context(TlsSocket(near, context)), OpenSslClient(far)
    connected = shaken = False
    until_s = time.monotonic() + BOUND_S
    while not (connected and shaken):
        assert time.monotonic() < until_s
        connected = connected or client.connect()
        with suppress(BlockingIOError):
            if not shaken:
                server.do_handshake()
                shaken = True
    return server, client


class Outflow:
    """What a transport asks of a connection's."""

    output_bytes = blocked_bytes = 0
    write_credit = 1 << 30

    def __init__(self) -> None:
        self.out: list[bytes] = []

    def set_socket_bytes(self, size: int) -> None:
        """How much waits for the socket."""


class Handler:
    """A connection that only writes."""

    finished = lost = False
    preface_received = True
    receive_buffer = None

    def __init__(self) -> None:
        self.outflow = Outflow()

    def connection_lost(self) -> None:
        """It was closed."""
        self.lost = True


def received(server: TlsSocket, read: Callable[[], bytes]) -> bytes:
    """All that there is, as a transport reads it: whenever epoll tells, and as long as there is more."""
    got = []
    while select.select([server], [], [], 0)[0] or server.has_more:
        try:
            got.append(read())
        except BlockingIOError:
            continue
        if not got[-1]:
            break
    return b"".join(got)


@given(
    parts=st.lists(st.integers(1, 300_000), min_size=1, max_size=5),
    read_bytes=st.integers(500, 60_000),
    joined=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_arrives_whole_and_in_order(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], parts: list[int], read_bytes: int, *, joined: bool
) -> None:
    """Who is told to wait writes the same again, with more behind it or not; the reader takes what it likes."""
    with ExitStack() as stack:
        server, client = pair(stack, contexts, small=True)
        unsent = [memoryview(bytes([number]) * size) for number, size in enumerate(parts)]
        expected, got, until_s = b"".join(unsent), b"", time.monotonic() + BOUND_S
        while unsent or len(got) < len(expected):
            assert time.monotonic() < until_s
            try:
                while unsent:
                    sent = server.sendmsg(unsent) if joined else server.sendmsg(unsent[:1])
                    while sent:
                        taken = min(sent, len(unsent[0]))
                        sent -= taken
                        unsent[0] = unsent[0][taken:]
                        if not unsent[0]:
                            del unsent[0]
            except BlockingIOError:
                pass
            got += client.read(read_bytes)
        assert got == expected
        assert not server.must_write


@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=6), cut=st.integers(1, 50_000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_read_is_all_that_has_come_whole(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], sizes: list[int], cut: int
) -> None:
    """Records that come together, and one that comes in two pieces: nothing is left of which nobody is told."""
    with ExitStack() as stack:
        server, client = pair(stack, contexts)
        expected = b""
        for number, size in enumerate(sizes):
            expected += bytes([number]) * size
            client.tls.write(bytes([number]) * size)
        encrypted = client.outgoing.read()
        client.raw.setblocking(False)
        got = b""
        for piece in (encrypted[:cut], encrypted[cut:]):
            rest = memoryview(piece)
            while rest:
                with suppress(BlockingIOError):
                    rest = rest[client.raw.send(rest) :]
                got += received(server, lambda: server.recv(65_536))
        assert got == expected


def test_what_is_read_to_a_place_leaves_no_rest_unseen(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """A record is larger than the place: what is left of it is told by the socket, since epoll knows nothing of it."""
    with ExitStack() as stack:
        server, client = pair(stack, contexts)
        client.send(bytes(range(200)) * 100)
        place = bytearray(999)

        def read() -> bytes:
            return bytes(place[: server.recv_into(memoryview(place))])

        assert received(server, read) == bytes(range(200)) * 100
        assert not server.has_more
        with pytest.raises(BlockingIOError):
            read()


def test_an_answer_that_waits_is_sent_once_where_the_caller_changes_keys(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """What waits is written along with OpenSSL's own answer, while the server reads: it must not be encrypted again."""
    data = bytes(range(256)) * 512
    with ExitStack() as stack:
        server, client = openssl_pair(stack, contexts[0])
        epoll = stack.enter_context(select.epoll())
        handler: Any = Handler()
        transport = TlsTransport(server, handler, epoll, on_closed=lambda _: None, on_write_closed=lambda _: None)
        handler.outflow.out.append(data)
        transport.flush()
        got, updates, until_s = b"", 10, time.monotonic() + BOUND_S
        while transport.is_writing or len(got) < len(data):
            assert time.monotonic() < until_s
            assert not handler.lost
            if updates and client.update_keys():
                updates -= 1
            # The socket takes nothing when epoll looks, and has room when the server reads.
            events = epoll.poll(0)
            got += client.read()
            for _, mask in events:
                transport.on_events(mask)
        assert got + client.read() == data
        assert not updates


def test_who_changes_keys_and_reads_nothing_is_cut_off(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Each change has an answer, and they would take memory without end."""
    with ExitStack() as stack:
        server, client = openssl_pair(stack, contexts[0])
        until_s = time.monotonic() + BOUND_S

        def change_keys() -> None:
            while time.monotonic() < until_s:
                client.update_keys()
                with suppress(BlockingIOError):
                    server.recv(65_536)

        with pytest.raises(ConnectionAbortedError, match="has not read"):
            change_keys()


def test_the_end_is_said_though_something_waits(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """An answer of OpenSSL's own had no room in the socket: it goes ahead of close_notify."""
    with ExitStack() as stack:
        server, client = openssl_pair(stack, contexts[0])
        until_s = time.monotonic() + BOUND_S
        while not server.must_write:
            assert time.monotonic() < until_s
            client.update_keys()
            with suppress(BlockingIOError):
                server.recv(65_536)
        client.read()
        assert not client.ended
        server.shutdown(socket.SHUT_WR)
        client.read()
        assert client.ended


def test_a_record_is_read_at_once_however_small_the_place_is(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """A record that has come whole is taken from the socket whole, and not in pieces as small as the place."""
    with ExitStack() as stack:
        server, client = pair(stack, contexts)
        client.send(bytes(range(128)) * 128)
        place = bytearray(9)
        assert server.recv_into(place) == 9
        assert bytes(place) == bytes(range(9))
        assert server.has_more


def test_frames_are_read_without_reads_that_give_nothing(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Headers of 9 bytes and frames of 16 KiB that fit no record, as an upload has them: one vain read in 64 KiB."""
    header, frame, frames = 9, 16_384, 128
    total = (header + frame) * frames
    with ExitStack() as stack:
        server, client = pair(stack, contexts)
        client.raw.setblocking(False)
        client.tls.write(bytes(total))
        unsent, place = memoryview(client.outgoing.read()), memoryview(bytearray(frame))
        got = vain = 0
        until_s = time.monotonic() + BOUND_S
        while got < total:
            assert time.monotonic() < until_s
            with suppress(BlockingIOError):
                while unsent:
                    unsent = unsent[client.raw.send(unsent) :]
            while got < total and (server.has_more or select.select([server], [], [], 0)[0]):
                in_frame = got % (header + frame) - header
                try:
                    got += server.recv_into(place[: frame - in_frame]) if in_frame >= 0 else len(server.recv(65_536))
                except BlockingIOError:
                    vain += 1
        assert got == total
        assert vain <= 2 * (total // 65_536)


def test_no_more_is_read_at_a_time_than_a_connection_may_keep(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """OpenSSL keeps as much memory as it ever was given: 64 KiB, whatever the reader would take."""
    with ExitStack() as stack:
        server, client = pair(stack, contexts)
        client.send(bytes(100_000))
        first = server.recv(262_144)
        assert len(first) <= 65_536
        assert not server.has_more
        assert len(first) + len(received(server, lambda: server.recv(262_144))) == 100_000


@pytest.mark.parametrize("in_place", [False, True])
def test_the_end_that_is_said_is_heard_after_what_was_said(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], *, in_place: bool
) -> None:
    """Data and close_notify come together."""
    with ExitStack() as stack:
        server, client = pair(stack, contexts)
        client.tls.write(b"the last")
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.send()
        place = bytearray(100)

        def read() -> bytes:
            return bytes(place[: server.recv_into(place)]) if in_place else server.recv(100)

        assert read() == b"the last"
        assert server.has_more
        assert read() == b""


def test_bytes_that_are_no_records_are_an_error(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Something on the way has changed them: the other side is told in an alert."""
    with ExitStack() as stack:
        server, client = pair(stack, contexts)
        client.tls.write(b"abc")
        encrypted = bytearray(client.outgoing.read())
        encrypted[-1] ^= 1
        client.raw.sendall(encrypted)
        with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac"):
            server.recv(100)
        with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac"):
            client.read(65_536)


def test_to_stop_writing_is_said_and_what_comes_is_dropped(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """The reader knows that it was not cut off. What it still sends is read, for the sake of what was sent last."""
    with ExitStack() as stack:
        server, client = pair(stack, contexts)
        server.send(b"the last")
        server.shutdown(socket.SHUT_WR)
        client.incoming.write(client.raw.recv(65_536))
        assert client.tls.read(100) == b"the last"
        assert client.tls.read(100) == b""
        client.send(b"too late")
        assert server.recv(100)
        client.raw.close()
        assert server.recv(100) == b""


def test_the_first_bytes_tell_that_it_is_not_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """They are given on, and the connection can go on without TLS."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with far, TlsSocket(near, contexts[0]) as server:
        with pytest.raises(BlockingIOError):
            server.do_handshake()
        far.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(NotTls) as raised:
            server.do_handshake()
        assert raised.value.data == b"GET / HTTP/1.1\r\n\r\n"
        with server.plain() as plain:
            plain.sendall(b"no")
        assert far.recv(100) == b"no"


def test_handshakes_have_a_time_limit(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Who says nothing keeps a descriptor for so long, and no longer. Nobody is told."""
    told: list[object] = []
    handshakes = TlsHandshakes(
        lambda: contexts[0],
        patience_s=0.01,
        on_done=told.append,
        on_failed=lambda *failed: told.append(failed),
        on_lost=told.append,
    )
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        far.settimeout(BOUND_S)
        handshakes.start()
        handshakes.begin(near)
        assert far.recv(1) == b""
        handshakes.close()
        handshakes.join()
    assert told == []
    assert near.fileno() < 0


def test_handshakes_under_way_are_closed_at_the_end(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """However far they are."""
    handshakes = TlsHandshakes(
        lambda: contexts[0],
        patience_s=BOUND_S,
        on_done=lambda _: None,
        on_failed=lambda *_: None,
        on_lost=print,
    )
    handshakes.start()
    with ExitStack() as stack:
        ends = []
        for beginning in (b"", b"\x16\x03"):
            near, far = socket.socketpair()
            near.setblocking(False)
            ends.append(stack.enter_context(far))
            handshakes.begin(near)
            far.sendall(beginning)
        handshakes.close()
        handshakes.close()
        handshakes.join()
        for far in ends:
            with suppress(ConnectionResetError):
                assert far.recv(1) == b""


def test_the_clock_is_not_looked_at_with_each_step(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a look at all that are under way: their number times their steps would be too much."""
    looks: list[float] = []
    done: queue.SimpleQueue[TlsSocket] = queue.SimpleQueue()
    monkeypatch.setattr(TlsHandshakes, "_see_clock", lambda _, now_s: looks.append(now_s))
    handshakes = TlsHandshakes(
        lambda: contexts[0], patience_s=BOUND_S, on_done=done.put, on_failed=lambda *_: None, on_lost=print
    )
    handshakes.start()
    for _ in range(20):
        near, far = socket.socketpair()
        near.setblocking(False)
        handshakes.begin(near)
        with contexts[1].wrap_socket(far, server_hostname="localhost"), done.get(timeout=BOUND_S):
            pass
    handshakes.close()
    handshakes.join()
    assert all(after - before >= 5.0 for before, after in pairwise(looks))


def test_what_fails_where_a_handshake_is_done_ends_that_only(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    """A bug with one connection is logged; the next is served."""
    done: queue.SimpleQueue[TlsSocket] = queue.SimpleQueue()
    failures = [ValueError("broken")]
    lost: list[Exception] = []

    def take(connected: TlsSocket) -> None:
        if failures:
            raise failures.pop()
        done.put(connected)

    handshakes = TlsHandshakes(
        lambda: contexts[0], patience_s=BOUND_S, on_done=take, on_failed=lambda *_: None, on_lost=lost.append
    )
    handshakes.start()
    for broken in (True, False):
        near, far = socket.socketpair()
        near.setblocking(False)
        handshakes.begin(near)
        far.settimeout(BOUND_S)
        with contexts[1].wrap_socket(far, server_hostname="localhost") as client:
            if broken:
                assert client.recv(1) == b""
            else:
                done.get(timeout=BOUND_S).close()
    handshakes.close()
    handshakes.join()
    assert not lost
    assert caplog.messages == ["bug: a handshake failed"]
