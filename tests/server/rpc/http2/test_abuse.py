"""What breaks the rules ends its stream or its connection, and is noticed by nobody else.

HTTP/2 says of each break whether it ends the connection or only the stream; a server may always end the connection
(RFC 9113, section 5.4). The core of grpc lets many of them pass: there, only others' well-being is asserted.
"""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING, Final

import pytest

from tests.server.rpc.http2.peer import CORE, Peer
from tests.server.rpc.http2.wire import (
    ACK,
    ADDED,
    END_HEADERS,
    END_STREAM,
    HEADER,
    MAX_WINDOW,
    PADDED,
    PREFACE,
    PRIORITY,
    START_WINDOW,
    WIDE,
    FrameType,
    Setting,
    call,
    data,
    frame,
    headers,
    integer,
    literal,
    ping,
    rst_stream,
    settings,
    window_update,
)
from tests.server.rpc.transports import until

if TYPE_CHECKING:
    from tests.server.rpc.transports import Transport

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

OPEN: Final = headers(1, HEADER)
CUT: Final = frame(FrameType.HEADERS, 0, 1, HEADER[:9])
FLOOD: Final = 10_000
CONNECTIONS: Final = 1000


def with_block(more: bytes) -> bytes:
    """A header whose block goes on with this."""
    return headers(1, HEADER + more)


NO_PREFACE: Final = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a ClientHello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "every byte": bytes(range(256)),
    "zeros": bytes(100),
    "a byte": b"\xff",
    "a preface whose last byte is wrong": PREFACE[:-1] + b"x" + settings(),
    "a preface without settings": PREFACE + call(1),
    "a ping before the settings": PREFACE + ping() + settings(),
}

ENDS_THE_CONNECTION: Final = {
    "a frame above the limit": frame(0xEE, 0, 0, bytes(2**24 - 1)),
    "a header above the limit": frame(FrameType.HEADERS, END_HEADERS, 1, bytes(5_000_000)),
    "HEADERS on stream 0": headers(0, HEADER),
    "HEADERS on an even stream": headers(2, HEADER),
    "HEADERS on a stream that was skipped": call(5) + call(3),
    "DATA on stream 0": data(0, b"x"),
    "DATA on an idle stream": data(7, b"x"),
    "DATA on an even stream": data(2, b"x"),
    "PRIORITY on stream 0": frame(FrameType.PRIORITY, 0, 0, bytes(5)),
    "RST_STREAM on stream 0": rst_stream(0),
    "RST_STREAM on an idle stream": rst_stream(9),
    "RST_STREAM of 3 bytes": OPEN + frame(FrameType.RST_STREAM, 0, 1, bytes(3)),
    "WINDOW_UPDATE of 0": window_update(0, 0),
    "WINDOW_UPDATE of 3 bytes": frame(FrameType.WINDOW_UPDATE, 0, 0, b"abc"),
    "WINDOW_UPDATE on an idle stream": window_update(9, 1),
    "a window of the connection above the limit": window_update(0, MAX_WINDOW),
    "a window above the limit by settings": OPEN
    + window_update(1, MAX_WINDOW - START_WINDOW)
    + settings({Setting.INITIAL_WINDOW_SIZE: START_WINDOW + 1}),
    "SETTINGS of 5 bytes": frame(FrameType.SETTINGS, 0, 0, b"12345"),
    "SETTINGS on a stream": frame(FrameType.SETTINGS, 0, 1),
    "SETTINGS that acknowledge with a payload": frame(FrameType.SETTINGS, ACK, 0, bytes(6)),
    "INITIAL_WINDOW_SIZE above the limit": settings({Setting.INITIAL_WINDOW_SIZE: 2**31}),
    "MAX_FRAME_SIZE below the limit": settings({Setting.MAX_FRAME_SIZE: 16_383}),
    "MAX_FRAME_SIZE above the limit": settings({Setting.MAX_FRAME_SIZE: 2**24}),
    "ENABLE_PUSH of 2": settings({Setting.ENABLE_PUSH: 2}),
    "PING of 7 bytes": ping(b"7 bytes"),
    "PING on a stream": frame(FrameType.PING, 0, 1, bytes(8)),
    "GOAWAY of 4 bytes": frame(FrameType.GOAWAY, 0, 0, bytes(4)),
    "GOAWAY on a stream": frame(FrameType.GOAWAY, 0, 1, bytes(8)),
    "PUSH_PROMISE": frame(FrameType.PUSH_PROMISE, END_HEADERS, 1, bytes(4) + HEADER),
    "CONTINUATION of nothing": frame(FrameType.CONTINUATION, END_HEADERS, 1, HEADER),
    "CONTINUATION of a header that was whole": OPEN + frame(FrameType.CONTINUATION, END_HEADERS, 1, HEADER),
    "PING within a header": CUT + ping() + frame(FrameType.CONTINUATION, END_HEADERS, 1, HEADER[9:]),
    "DATA within a header": CUT + data(1, b"x") + frame(FrameType.CONTINUATION, END_HEADERS, 1, HEADER[9:]),
    "HEADERS within a header": CUT + headers(3, HEADER) + frame(FrameType.CONTINUATION, END_HEADERS, 1, HEADER[9:]),
    "another stream's CONTINUATION within a header": CUT + frame(FrameType.CONTINUATION, END_HEADERS, 3, HEADER[9:]),
    "an unknown frame within a header": CUT
    + frame(0xEE, 0, 1)
    + frame(FrameType.CONTINUATION, END_HEADERS, 1, HEADER[9:]),
    "more padding than DATA": OPEN + frame(FrameType.DATA, PADDED, 1, b"\x05abc"),
    "padded DATA without a length": OPEN + frame(FrameType.DATA, PADDED, 1),
    "more padding than HEADERS": frame(FrameType.HEADERS, PADDED | END_HEADERS, 1, b"\xff" + HEADER),
    "HEADERS too short for their priority": frame(FrameType.HEADERS, PRIORITY | END_HEADERS, 1, b"abc"),
    "a block of ones": headers(1, b"\xff" * 50),
    "an index of 0": with_block(b"\x80"),
    "an index beyond the tables": with_block(integer(62, first=0x80, bits=7)),
    "an index far beyond the tables": with_block(integer(2**31 - 1, first=0x80, bits=7)),
    "the index of a name beyond the tables": with_block(integer(90, first=0x40, bits=6) + b"\x01x"),
    "a number without an end": with_block(b"\xff" * 30 + b"\x01"),
    "a number of zeros": with_block(b"\xff" + b"\x80" * 30 + b"\x01"),
    "a text of 2**28 bytes": with_block(b"\x00\x7f\xff\xff\xff\x7f"),
    "a block that is cut off": headers(1, HEADER[:-3]),
    "a table above the limit": headers(1, integer(2**20, first=0x20, bits=5) + HEADER),
    "a table's size in the midst of a block": with_block(integer(0, first=0x20, bits=5)),
    "the end of text in a text": with_block(b"\x00\x01a\x84\xff\xff\xff\xff"),
    "padding of a text with zeros": with_block(b"\x00\x01a\x81\x18"),
    "padding of a text above 7 bits": with_block(b"\x00\x01a\x82\x1f\xff"),
}

ENDS_THE_STREAM: Final = {
    "DATA above the limit": OPEN + frame(FrameType.DATA, 0, 1, bytes(2**24 - 1)),
    "WINDOW_UPDATE of 0 on a stream": OPEN + window_update(1, 0),
    "a window of a stream above the limit": OPEN + window_update(1, MAX_WINDOW),
    "PRIORITY of 4 bytes": OPEN + frame(FrameType.PRIORITY, 0, 1, bytes(4)),
    "HEADERS twice": OPEN + OPEN,
    "a list of fields above 64 kB": headers(1, HEADER + literal("x-long", "v" * 70_000), pieces=6),
    "a list of many fields above 64 kB": headers(1, HEADER + literal("x-a", "v" * 30) * 2000, pieces=6),
    "a bomb: 60 MB out of 20 kB": headers(
        1, HEADER + literal("x-bomb", "v" * 4000, ADDED) + b"\xbe" * 15_000, pieces=2
    ),
    "CONTINUATION without an end": frame(FrameType.HEADERS, 0, 1)
    + frame(FrameType.CONTINUATION, 0, 1, literal("x-a", "v" * 100) * 100) * 500,
    "empty CONTINUATION without an end": frame(FrameType.HEADERS, 0, 1) + frame(FrameType.CONTINUATION, 0, 1) * FLOOD,
}

# Each may be taken, too: the call was over, or is answered all the same, or the server has to do a little more.
ENDS_WHAT_IT_LIKES: Final = {
    "HEADERS on a stream that was used": call(5) + call(5),
    "a stream that depends on itself": frame(FrameType.PRIORITY, 0, 1, b"\x00\x00\x00\x01\x00"),
    "HEADERS that depend on themselves": frame(
        FrameType.HEADERS, PRIORITY | END_HEADERS | END_STREAM, 1, b"\x00\x00\x00\x01\x00" + HEADER
    ),
    "SETTINGS that acknowledge nothing": frame(FrameType.SETTINGS, ACK, 0),
    "DATA on a closed stream": call(1) + data(1, b"x"),
    "DATA on a stream that was reset": OPEN + rst_stream(1) + data(1, b"x" * 1000) * 10,
    "HEADERS on a stream that was reset": OPEN + rst_stream(1) + OPEN,
    "WINDOW_UPDATE on a closed stream": call(1) + window_update(1, 5),
    "RST_STREAM on a closed stream": call(1) + rst_stream(1) + rst_stream(1),
    "calls that are reset at once": b"".join(headers(one, HEADER) + rst_stream(one) for one in range(1, 2 * FLOOD, 2)),
    "whole calls that are reset at once": b"".join(call(one) + rst_stream(one) for one in range(1, FLOOD, 2)),
    "pings without reading": ping() * FLOOD,
    "settings without reading": settings({Setting.INITIAL_WINDOW_SIZE: 1000}) * FLOOD,
    "empty settings without reading": settings() * FLOOD,
    "empty DATA": OPEN + data(1) * FLOOD,
    "WINDOW_UPDATE by bytes": OPEN + (window_update(0, 1) + window_update(1, 1)) * FLOOD,
    "PRIORITY of many streams": b"".join(frame(FrameType.PRIORITY, 0, one, bytes(5)) for one in range(1, 2 * FLOOD, 2)),
    "unknown frames": frame(0xEE, 0, 0) * FLOOD,
}


def assert_served(echo: Transport, peer: Peer) -> None:
    """Its next call is answered. The core of grpc cancels calls of anybody while very many wait: there, one of them."""
    if echo.name in CORE:
        until(lambda: peer.answer(peer.start()).well)
    else:
        assert peer.ask(b"well") == b"well"


def assert_nobody_noticed(echo: Transport, bystander: Peer) -> None:
    """Those who were there are served, so are those who come, and nothing is left over."""
    assert_served(echo, bystander)
    with Peer(echo.address) as fresh:
        assert_served(echo, fresh)
    until(lambda: not echo.serving.open_calls)
    assert not echo.lost


def ended(peer: Peer) -> bool:
    """Whether the connection has, or the server has said that it will."""
    return peer.closed or bool(peer.goaway)


@pytest.mark.parametrize("said", NO_PREFACE.values(), ids=list(NO_PREFACE))
def test_who_speaks_no_http2_is_shown_out(echo: Transport, bystander: Peer, said: bytes) -> None:
    """Without an answer to wait for: the connection ends by itself, at the first byte that is wrong."""
    with Peer(echo.address, said) as peer:
        while peer.take_raw():
            pass
        assert peer.closed
    assert_nobody_noticed(echo, bystander)


@pytest.mark.parametrize("said", ENDS_THE_CONNECTION.values(), ids=list(ENDS_THE_CONNECTION))
def test_what_cannot_be_made_good_ends_the_connection(echo: Transport, bystander: Peer, said: bytes) -> None:
    """What each side believes of the other may no longer be the same."""
    with Peer(echo.address, PREFACE + settings()) as peer:
        peer.pour_all(said, bystander.settle)
        peer.settle()
        assert echo.name in CORE or ended(peer)
    assert_nobody_noticed(echo, bystander)


@pytest.mark.parametrize("said", ENDS_THE_STREAM.values(), ids=list(ENDS_THE_STREAM))
def test_what_concerns_a_stream_ends_it(echo: Transport, bystander: Peer, said: bytes) -> None:
    """Or the connection."""
    with Peer(echo.address, PREFACE + settings()) as peer:
        peer.pour_all(said, bystander.settle)
        peer.settle()
        assert echo.name in CORE or ended(peer) or peer.of(1).failed or peer.of(1).header.get(":status") == "431"
        assert not peer.of(1).well
    assert_nobody_noticed(echo, bystander)


@pytest.mark.parametrize("said", ENDS_WHAT_IT_LIKES.values(), ids=list(ENDS_WHAT_IT_LIKES))
def test_what_a_server_may_bear_harms_nobody_else(echo: Transport, bystander: Peer, said: bytes) -> None:
    """It may also end the connection, or stop reading from it."""
    with Peer(echo.address, PREFACE + settings()) as peer:
        if not peer.pour(said, bystander.settle):
            peer.settle()
    assert_nobody_noticed(echo, bystander)


def test_connections_that_say_nothing_whole_hold_up_nobody(echo: Transport, bystander: Peer) -> None:
    """A thousand of them, with half a preface each, or less where a process may have fewer."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Two for each connection, which has both its ends in this process.
    count = min(CONNECTIONS, (soft - 200) // 2) if soft > 0 else CONNECTIONS
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(echo.address, PREFACE[:12])) for _ in range(count)]
        assert bystander.ask(b"meanwhile") == b"meanwhile"
        for peer in peers[::100]:
            peer.send(PREFACE[12:], WIDE[len(PREFACE) :])
            assert peer.ask(b"late") == b"late"
        assert_nobody_noticed(echo, bystander)
    assert_nobody_noticed(echo, bystander)


def test_requests_that_drip_hold_up_nobody(echo: Transport, bystander: Peer) -> None:
    """Fifty of them, byte by byte in turn, each of which is answered in the end."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(echo.address)) for _ in range(50)]
        for byte in call(1):
            for peer in peers:
                peer.send(bytes((byte,)))
            bystander.ask()
        assert [peer.answer(1).messages for peer in peers] == [[b"x"]] * 50
    assert_nobody_noticed(echo, bystander)
