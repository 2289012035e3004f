"""A client of raw HTTP/2 that a test drives frame by frame. Every read and write has a bound."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from hpack import Decoder

from tests.server.rpc.http2.wire import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    PADDED,
    START_WINDOW,
    WIDE,
    FrameType,
    Setting,
    block,
    data,
    frame,
    headers,
    prefixed,
    request_fields,
)
from tests.server.rpc.transports import BOUND_S, METHOD

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["CORE", "Answer", "Frame", "Peer"]

# Transports whose HTTP/2 is grpc's core: where it does not do as the RFC says, tests take what it does.
CORE: Final = frozenset({"grpcio"})

# Round trips of another connection after which a server that has taken nothing more is not going to.
_PATIENCE: Final = 20
UNKNOWN_METHOD: Final = "/test.Service/Unknown"
# What :meth:`Peer.next_stream_id` gives first: those below are the test's own.
FIRST_STREAM_ID: Final = 1_000_001


class Frame(NamedTuple):
    """What the server has sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


@dataclass(slots=True, eq=False)
class Answer:
    """What has come on one stream so far.

    Attributes:
        header: Empty where the server has gone straight to the trailers.
        data: Payload of the DATA frames.
        trailers: Empty until they come.
        reset: Code of RST_STREAM, if it came before the trailers.
        ended: Nothing more may come.
        late: Frames that came nevertheless.
        window_bytes: What we may still send.
    """

    header: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    trailers: dict[str, str] = field(default_factory=dict)
    reset: int | None = None
    ended: bool = False
    late: int = 0
    window_bytes: int = START_WINDOW

    @property
    def status(self) -> int:
        """``grpc-status``."""
        return int(self.trailers["grpc-status"])

    @property
    def well(self) -> bool:
        """Whether it has ended as a call that succeeds."""
        good = (self.header or self.trailers).get(":status") == "200" and self.trailers.get("grpc-status") == "0"
        return self.ended and self.reset is None and not self.late and good

    @property
    def failed(self) -> bool:
        """Whether it has ended, and not well."""
        return self.ended and (self.reset is not None or self.trailers.get("grpc-status", "0") != "0")

    @property
    def messages(self) -> list[bytes]:
        """All of them, without their prefixes, none of them compressed."""
        found, rest = [], bytes(self.data)
        while rest:
            size = 5 + int.from_bytes(rest[1:5])
            assert rest[0] == 0
            assert len(rest) >= size
            found.append(rest[5:size])
            rest = rest[size:]
        return found


class Peer:
    """One connection, closed at the end of its context.

    What is read is kept account of: settings and pings are answered, answers collected by their stream.

    Args:
        address: Of the server.
        greeting: What is sent first; the default gives the server all the room there is.
        context: For TLS; None = none is spoken.

    Attributes:
        raw: The socket.
        answers: By stream.
        pings: Payloads that the server has acknowledged.
        settings: What the server has said of itself.
        settings_acknowledged: How often it has acknowledged ours.
        goaway: Code of its GOAWAY.
        closed: Whether the server has ended the connection.
        window_bytes: What we may still send on the connection.
    """

    def __init__(self, address: str, greeting: bytes = WIDE, *, context: ssl.SSLContext | None = None) -> None:
        host, _, port = address.rpartition(":")
        raw = socket.create_connection((host, int(port)), BOUND_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw = raw if context is None else context.wrap_socket(raw, server_hostname=host)
        self.answers: dict[int, Answer] = {}
        self.pings: list[bytes] = []
        self.settings: dict[int, int] = {}
        self.settings_acknowledged = 0
        self.goaway: int | None = None
        self.closed = False
        self.window_bytes = START_WINDOW
        self.decoder = Decoder()
        self._received = bytearray()
        self._block = b""
        self._next_stream_id = FIRST_STREAM_ID
        self.send(greeting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def send(self, *frames: bytes) -> None:
        """All of them at once. Where the server has ended the connection, it is only noted."""
        try:
            self.raw.sendall(b"".join(frames))
        except ConnectionError:
            self.closed = True

    def pour(self, payload: bytes | memoryview, meanwhile: Callable[[], object]) -> memoryview:
        """Send without reading.

        Args:
            payload: Much.
            meanwhile: A round trip on another connection: done whenever the server takes nothing.

        Returns:
            What the server did not take: it may stop reading, or end the connection.
        """
        self.raw.setblocking(False)
        rest, patience = memoryview(payload), _PATIENCE
        try:
            while rest and patience:
                try:
                    rest = rest[self.raw.send(rest) :]
                    patience = _PATIENCE
                except BlockingIOError:
                    meanwhile()
                    patience -= 1
        except ConnectionError:
            self.closed = True
        finally:
            self.raw.settimeout(BOUND_S)
        return rest

    def pour_all(self, payload: bytes, meanwhile: Callable[[], object]) -> None:
        """:meth:`pour` to a server that reads on, however slowly, unless it ends the connection."""
        rest, end_s = memoryview(payload), time.monotonic() + BOUND_S
        while rest and not self.closed:
            assert time.monotonic() < end_s, "the server has stopped reading"
            rest = self.pour(rest, meanwhile)

    def next_stream_id(self) -> int:
        """A new one."""
        stream_id, self._next_stream_id = self._next_stream_id, self._next_stream_id + 2
        return stream_id

    def start(self, message: bytes = b"ask", *more: tuple[str, str], path: str = METHOD) -> int:
        """Send a whole call, and give its stream."""
        stream_id = self.next_stream_id()
        self.send(headers(stream_id, block(request_fields(*more, path=path), huffman=False)))
        self.upload(stream_id, prefixed(message))
        return stream_id

    def ask(self, message: bytes = b"ask", *more: tuple[str, str], path: str = METHOD) -> bytes:
        """A whole call that must end well, with one message."""
        answer = self.answer(self.start(message, *more, path=path))
        assert answer.well, answer
        (found,) = answer.messages
        return found

    def answer(self, stream_id: int) -> Answer:
        """What comes on a stream up to its end."""
        answer = self.of(stream_id)
        while not answer.ended:
            assert self.take(), "the server ended the connection"
        return answer

    def of(self, stream_id: int) -> Answer:
        """What has come on a stream so far."""
        if stream_id not in self.answers:
            window_bytes = self.settings.get(Setting.INITIAL_WINDOW_SIZE, START_WINDOW)
            self.answers[stream_id] = Answer(window_bytes=window_bytes)
        return self.answers[stream_id]

    def read_until(self, holds: Callable[[], bool]) -> None:
        """Read frames as long as it does not hold."""
        while not holds():
            assert self.take(), "the server ended the connection"

    def settle(self) -> None:
        """Read what the server has to say to all that was sent: until it has refused two calls, or is going.

        Not by pings: grpc's core takes many of them for an attack.
        """
        for _ in range(2):
            refused = self.start(path=UNKNOWN_METHOD)
            while not self.of(refused).ended and self.goaway is None and self.take():
                pass

    def take_raw(self) -> bytes:
        """Any bytes, whatever they are; none where the server has ended the connection."""
        part = b""
        with suppress(ConnectionError):
            part = self.raw.recv(262_144)
        self.closed = not part
        return part

    def upload(self, stream_id: int, payload: bytes, *, end: bool = True) -> None:
        """Send as data, as far as the server's windows allow, waiting for more of them."""
        answer, rest = self.of(stream_id), memoryview(payload)
        size_limit = self.settings.get(Setting.MAX_FRAME_SIZE, 16_384)
        while rest:
            size = min(self.window_bytes, answer.window_bytes, size_limit, len(rest))
            if size <= 0:
                assert self.take(), "the server ended the connection"
                assert not answer.ended, answer
                continue
            self.window_bytes -= size
            answer.window_bytes -= size
            self.send(data(stream_id, bytes(rest[:size]), end=end and size == len(rest)))
            rest = rest[size:]

    def take(self) -> Frame | None:
        """The next frame, which is kept account of; None where the server has ended the connection."""
        head = self._read(FRAME_HEADER.size)
        if head is None:
            return None
        high, low, kind, flags, stream_id = FRAME_HEADER.unpack(head)
        payload = self._read(high << 16 | low)
        if payload is None:
            return None
        found = Frame(kind, flags, stream_id, payload)
        self._account(found)
        return found

    def _account(self, found: Frame) -> None:
        match found.kind:
            case FrameType.DATA | FrameType.HEADERS | FrameType.CONTINUATION | FrameType.RST_STREAM:
                assert found.stream_id % 2
                self._on_stream(found, self.of(found.stream_id))
            case FrameType.SETTINGS if found.flags & ACK:
                assert not found.payload
                self.settings_acknowledged += 1
            case FrameType.SETTINGS:
                self._on_settings(found.payload)
                self.send(frame(FrameType.SETTINGS, ACK, 0))
            case FrameType.PING if found.flags & ACK:
                self.pings.append(found.payload)
            case FrameType.PING:
                self.send(frame(FrameType.PING, ACK, 0, found.payload))
            case FrameType.GOAWAY:
                self.goaway = int.from_bytes(found.payload[4:8])
            case FrameType.WINDOW_UPDATE:
                size = int.from_bytes(found.payload)
                assert size
                if found.stream_id:
                    self.of(found.stream_id).window_bytes += size
                else:
                    self.window_bytes += size
            case _:
                pass

    def _on_settings(self, payload: bytes) -> None:
        before = self.settings.get(Setting.INITIAL_WINDOW_SIZE, START_WINDOW)
        for at in range(0, len(payload), 6):
            self.settings[int.from_bytes(payload[at : at + 2])] = int.from_bytes(payload[at + 2 : at + 6])
        for answer in self.answers.values():
            answer.window_bytes += self.settings.get(Setting.INITIAL_WINDOW_SIZE, START_WINDOW) - before

    def _on_stream(self, found: Frame, answer: Answer) -> None:
        payload = found.payload
        if found.kind == FrameType.RST_STREAM:
            # After the trailers it only says that the server wants no more of the request (RFC 9113, section 8.1).
            if not answer.ended:
                answer.reset, answer.ended = int.from_bytes(payload), True
            return
        if answer.ended:
            answer.late += 1
        if found.kind != FrameType.CONTINUATION and found.flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if found.kind == FrameType.DATA:
            answer.data += payload
            answer.ended |= bool(found.flags & END_STREAM)
            return
        self._block += payload
        last = found.kind == FrameType.HEADERS and found.flags & END_STREAM
        if not found.flags & END_HEADERS:
            assert not last, "trailers in pieces: not known to this client"
            return
        fields = {str(name): str(value) for name, value in self.decoder.decode(self._block)}
        self._block = b""
        if last:
            answer.trailers = fields
            answer.ended = True
        else:
            answer.header = fields

    def _read(self, size: int) -> bytes | None:
        while len(self._received) < size:
            part = self.take_raw()
            if not part:
                return None
            self._received += part
        found = bytes(self._received[:size])
        del self._received[:size]
        return found
