"""Every form that HPACK has for a field is read, and what gRPC puts into fields: metadata, deadlines."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import pytest
from hpack import Encoder

from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.http2.wire import (
    ADDED,
    NEVER,
    PLAIN,
    PREFACE,
    Form,
    Setting,
    block,
    data,
    headers,
    integer,
    literal,
    prefixed,
    request_fields,
    settings,
    window_update,
)
from tests.server.rpc.transports import HASTE_S, TRANSPORTS, Transport, opened, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sardonyx_server.engine.call import Call

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

REQUEST: Final = block(request_fields())
# The first that a client added last (RFC 7541, section 2.3.3).
NEWEST: Final = 62
USER_AGENT: Final = 58
TABLE_BYTES: Final = 4096
# A caller's tolerance for a deadline: the server has a clock of its own.
SLACK_S: Final = 2.0

NO_BASE64: Final = ("A", "A===", "!!!", "_-8=", "AA E")
NO_DEADLINES: Final = ("abc", "5", "S", "-1S", "1.5S", "")
NO_FIELDS: Final = (
    ("X-Upper", "1"),
    (":unknown", "1"),
    ("a b", "1"),
    ("", "1"),
    ("te", "gzip"),
    ("grpc-encoding", "unheard-of"),
)


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Each transport, with calls that wait for the test."""
    with opened(request.param) as running:
        yield running


@pytest.fixture
def client(transport: Transport) -> Iterator[Peer]:
    """A connection to it."""
    with Peer(transport.address) as connection:
        yield connection


def metadata(transport: Transport, client: Peer, encoded: bytes, own: Iterable[str]) -> list[tuple[str, str | bytes]]:
    """What the call's own fields are once they are read, in order; the call is answered."""
    stream_id = client.next_stream_id()
    client.send(headers(stream_id, encoded), data(stream_id, prefixed(b"x"), end=True))
    message, call = transport.calls.take()
    found = [(key, value) for key, value in call.metadata if key in set(own)]
    call.reply(message)
    assert client.answer(stream_id).well
    return found


def resized(size: int) -> bytes:
    """A change of the size of the server's table (RFC 7541, section 6.3)."""
    return integer(size, first=0x20, bits=5)


def indexed(index: int) -> bytes:
    """A field of a table (RFC 7541, section 6.1)."""
    return integer(index, first=0x80, bits=7)


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("form", [PLAIN, ADDED, NEVER], ids=["without indexing", "with indexing", "never indexed"])
def test_literals_of_all_three_kinds_are_read(transport: Transport, client: Peer, form: Form, huffman: bool) -> None:
    """Their names as text."""
    encoded = literal("x-name", "Value, 1~", form, huffman=huffman)
    assert metadata(transport, client, REQUEST + encoded, ["x-name"]) == [("x-name", "Value, 1~")]


@pytest.mark.parametrize("form", [PLAIN, ADDED, NEVER], ids=["without indexing", "with indexing", "never indexed"])
def test_a_name_may_be_an_index(transport: Transport, client: Peer, form: Form) -> None:
    """Into the table that everybody has, and into that which the client has filled."""
    encoded = REQUEST + literal("x-name", "first", ADDED) + literal(NEWEST, "second", form) + literal(58, "me", form)
    found = metadata(transport, client, encoded, ["x-name", "user-agent"])
    assert sorted(found) == [("user-agent", "me"), ("x-name", "first"), ("x-name", "second")]


def test_what_was_added_is_known_to_later_calls(transport: Transport, client: Peer) -> None:
    """The newest has the lowest number; of another connection it is not known."""
    encoded = REQUEST + literal("x-a", "1", ADDED) + literal("x-b", "2", ADDED)
    assert metadata(transport, client, encoded, ["x-a", "x-b"]) == [("x-a", "1"), ("x-b", "2")]
    encoded = REQUEST + indexed(NEWEST + 1) + indexed(NEWEST) + indexed(NEWEST + 1)
    assert metadata(transport, client, encoded, ["x-a", "x-b"]) == [("x-a", "1"), ("x-b", "2"), ("x-a", "1")]


def test_the_whole_header_may_be_indexed(transport: Transport, client: Peer) -> None:
    """As grpc's own clients send it from the second call on: a byte for each field, 100 times."""
    encoder = Encoder()
    fields = request_fields(("x-a", "1"), ("user-agent", "grpc-test/1.0"))
    sizes = set()
    for _ in range(100):
        encoded = encoder.encode(fields)
        sizes.add(len(encoded))
        assert metadata(transport, client, encoded, ["x-a"]) == [("x-a", "1")]
    assert min(sizes) == len(fields)


def test_what_was_said_never_to_be_indexed_is_not(transport: Transport, client: Peer) -> None:
    """Nor what was only not to be: the newest stays the newest."""
    encoded = REQUEST + literal("x-a", "kept", ADDED) + literal("x-b", "1") + literal("x-b", "2", NEVER)
    metadata(transport, client, encoded, [])
    assert metadata(transport, client, REQUEST + indexed(NEWEST), ["x-a", "x-b"]) == [("x-a", "kept")]


def test_the_oldest_falls_out_of_a_full_table(transport: Transport, client: Peer) -> None:
    """An entry has 32 bytes beside its text (RFC 7541, section 4.1): 40 of 102 bytes fit, and their order stays."""
    size = TABLE_BYTES // 40 - 32 - len("x-00")
    for number in range(90):
        metadata(transport, client, REQUEST + literal(f"x-{number:02}", "v" * size, ADDED), [])
    names = [f"x-{number:02}" for number in range(50, 90)]
    found = metadata(transport, client, REQUEST + b"".join(indexed(NEWEST + at) for at in reversed(range(40))), names)
    assert [key for key, _ in found] == names


def test_an_entry_above_the_size_of_the_table_empties_it(transport: Transport, client: Peer) -> None:
    """It is no error (RFC 7541, section 4.4)."""
    long = "v" * TABLE_BYTES
    encoded = REQUEST + literal("x-a", "1", ADDED) + literal("x-long", long, ADDED) + literal("x-b", "2", ADDED)
    assert metadata(transport, client, encoded, ["x-long"]) == [("x-long", long)]
    assert metadata(transport, client, REQUEST + indexed(NEWEST), ["x-a", "x-b"]) == [("x-b", "2")]


def test_a_client_may_make_the_table_smaller_and_larger_again(transport: Transport, client: Peer) -> None:
    """Up to what the server has said; to nothing and back empties it, in one block or in two."""
    metadata(transport, client, REQUEST + literal("x-a", "1", ADDED) + literal("x-b", "2", ADDED), [])
    encoded = resized(TABLE_BYTES // 2) + REQUEST + indexed(NEWEST + 1)
    assert metadata(transport, client, encoded, ["x-a"]) == [("x-a", "1")]
    encoded = resized(0) + resized(TABLE_BYTES) + REQUEST + literal("x-c", "3", ADDED)
    metadata(transport, client, encoded, [])
    assert metadata(transport, client, REQUEST + indexed(NEWEST), ["x-a", "x-b", "x-c"]) == [("x-c", "3")]
    metadata(transport, client, resized(0) + REQUEST + literal("x-d", "4", ADDED), [])
    metadata(transport, client, resized(TABLE_BYTES) + REQUEST + literal("x-e", "5", ADDED), [])
    assert metadata(transport, client, REQUEST + indexed(NEWEST), ["x-d", "x-e"]) == [("x-e", "5")]


def test_a_client_may_give_up_its_header_table_within_an_answer(transport: Transport) -> None:
    """What follows on the same stream says so, or has said it before."""
    narrow = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 0})
    with Peer(transport.address, narrow) as client:
        stream_id = client.start()
        _, call = transport.calls.take()
        call.reply(b"answer")
        client.read_until(lambda: bool(client.of(stream_id).header))
        acknowledged = client.settings_acknowledged
        client.send(settings({Setting.HEADER_TABLE_SIZE: 0}))
        client.read_until(lambda: client.settings_acknowledged > acknowledged)
        client.decoder.max_allowed_table_size = 0
        client.send(window_update(stream_id, 100))
        assert client.answer(stream_id).well


@pytest.mark.parametrize("size", [126, 127, 128, 254, 255, 256, 1000])
@pytest.mark.parametrize("huffman", [False, True])
def test_lengths_of_several_bytes_are_read(transport: Transport, client: Peer, size: int, huffman: bool) -> None:
    """Around the ends of each (RFC 7541, section 5.1)."""
    encoded = REQUEST + literal("x-long", "0" * size, huffman=huffman)
    assert metadata(transport, client, encoded, ["x-long"]) == [("x-long", "0" * size)]


def test_every_printable_character_passes_huffman(transport: Transport, client: Peer) -> None:
    """In one value, cut into frames of one byte."""
    text = "".join(map(chr, range(0x21, 0x7F)))
    encoded = REQUEST + literal("x-all", text, huffman=True)
    stream_id = client.next_stream_id()
    client.send(headers(stream_id, encoded, pieces=len(encoded)), data(stream_id, prefixed(b"x"), end=True))
    message, call = transport.calls.take()
    assert ("x-all", text) in list(call.metadata)
    call.reply(message)
    assert client.answer(stream_id).well


def test_a_header_of_7_kb_is_taken(transport: Transport, client: Peer) -> None:
    """The core of grpc promises 8 (its soft limit); 60 fields of 100 bytes do as well as one of 7,000."""
    own = [(f"x-{number:02}", "v" * 64) for number in range(60)]
    assert metadata(transport, client, block(request_fields(*own)), [key for key, _ in own]) == own
    assert metadata(transport, client, REQUEST + literal("x-a", "v" * 7000), ["x-a"]) == [("x-a", "v" * 7000)]


def test_names_may_be_repeated_and_values_empty(transport: Transport, client: Peer) -> None:
    """In the order sent."""
    own = [("x-b", "1"), ("x-a", ""), ("x-b", "1"), ("x-b", " spaces kept ")]
    assert metadata(transport, client, block(request_fields(*own)), ["x-a", "x-b"]) == own


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("AAEC", b"\x00\x01\x02"),
        ("AAE=", b"\x00\x01"),
        ("AAE", b"\x00\x01"),
        ("AA==", b"\x00"),
        ("AA", b"\x00"),
        ("", b""),
        ("/+8=", b"\xff\xef"),
    ],
)
def test_binary_metadata_is_read_padded_or_not(transport: Transport, client: Peer, text: str, value: bytes) -> None:
    """Implementations must take both (gRPC over HTTP/2, "Binary-Header")."""
    assert metadata(transport, client, REQUEST + literal("x-own-bin", text), ["x-own-bin"]) == [("x-own-bin", value)]


def come_in_haste(transport: Transport, client: Peer) -> tuple[int, Call]:
    """A call that has come and whose deadline passes soon: (its stream, the call)."""
    for timeout_s in HASTE_S:
        said = b"%g" % timeout_s
        stream_id = client.start(said, ("grpc-timeout", f"{timeout_s * 1000:.0f}m"))
        client.settle()
        for message, call in transport.calls.take_all():
            if message == said:
                return stream_id, call
            call.reply(b"too late")
    raise AssertionError("each deadline passed before its call had come")


@pytest.mark.parametrize(
    ("text", "left_s"),
    [
        ("1H", 3600.0),
        ("2M", 120.0),
        ("90S", 90.0),
        ("20000m", 20.0),
        ("20000000u", 20.0),
        ("99999999H", 99_999_999 * 3600.0),
        ("00000030S", 30.0),
    ],
)
def test_deadlines_are_read_in_every_unit(transport: Transport, client: Peer, text: str, left_s: float) -> None:
    """Up to eight digits; what is left is told by the call."""
    before_s = time.monotonic()
    stream_id = client.start(b"x", ("grpc-timeout", text))
    message, call = transport.calls.take()
    assert before_s + left_s - SLACK_S < call.deadline_s < time.monotonic() + left_s + SLACK_S
    call.reply(message)
    assert client.answer(stream_id).well


def test_the_largest_number_of_nanoseconds_is_a_tenth_of_a_second(transport: Transport, client: Peer) -> None:
    """The call is told so, and ends by it; whether it comes in time for that is the machine's business."""
    stream_id = client.start(b"x", ("grpc-timeout", "99999999n"))
    client.settle()
    came = transport.calls.take_all()
    for _, call in came:
        call.watch()
    answer = client.answer(stream_id)
    assert answer.reset is not None or answer.status == 4
    came += transport.calls.take_all()
    assert all(call.deadline_s < time.monotonic() + SLACK_S for _, call in came)
    for _, call in came:
        call.reply(b"too late")
    transport.answer_late()


def test_no_deadline_is_infinity(transport: Transport, client: Peer) -> None:
    """As the call tells it."""
    stream_id = client.start()
    _, call = transport.calls.take()
    assert call.deadline_s == math.inf
    call.reply(b"")
    assert client.answer(stream_id).well


@pytest.mark.parametrize("text", ["0S", "0n", "1n"])
def test_a_deadline_that_has_passed_is_told_by_the_server_too(echo: Transport, peer: Peer, text: str) -> None:
    """DEADLINE_EXCEEDED, or the end of the stream; an answer that was faster is one, too."""
    answer = peer.answer(peer.start(b"x", ("grpc-timeout", text)))
    assert answer.reset is not None or answer.status in {0, 4}
    assert peer.ask() == b"ask"


def test_a_deadline_that_passes_while_the_call_runs_ends_it(transport: Transport, client: Peer) -> None:
    """Although nobody answers; a client that lost its own clock would wait for ever."""
    stream_id, call = come_in_haste(transport, client)
    call.watch()
    answer = client.answer(stream_id)
    assert answer.reset is not None or answer.status == 4
    call.reply(b"too late")
    transport.answer_late()


@pytest.mark.parametrize("size", [0, 3, 9])
def test_a_deadline_that_passes_before_the_message_has_come_ends_the_call(
    transport: Transport, client: Peer, size: int
) -> None:
    """Nothing of it, a part of its prefix, a part of it."""
    stream_id = client.next_stream_id()
    client.send(
        headers(stream_id, REQUEST + literal("grpc-timeout", "50m")), data(stream_id, prefixed(b"message")[:size])
    )
    answer = client.answer(stream_id)
    assert answer.reset is not None or answer.status == 4
    assert transport.calls.none_has_come()
    until(lambda: not transport.serving.open_calls)


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto"])
def test_both_content_types_of_grpc_are_taken(echo: Transport, peer: Peer, content_type: str) -> None:
    """The second is what some languages' clients say."""
    fields = [(name, content_type if name == "content-type" else value) for name, value in request_fields()]
    peer.send(headers(1, block(fields)), data(1, prefixed(b"x"), end=True))
    assert peer.answer(1).well


def malformed() -> dict[str, bytes]:
    """Header blocks that HPACK can read, and that are no call."""
    plain = dict(request_fields())
    blocks = {f"x-bin={text}": REQUEST + literal("x-bin", text) for text in NO_BASE64}
    blocks |= {f"grpc-timeout={text}": REQUEST + literal("grpc-timeout", text) for text in NO_DEADLINES}
    blocks |= {f"{name}={value}": REQUEST + literal(name, value) for name, value in NO_FIELDS}
    for lacking in (":method", ":path"):
        blocks[f"without {lacking}"] = block((name, value) for name, value in plain.items() if name != lacking)
    blocks["GET"] = block((plain | {":method": "GET"}).items())
    blocks["nothing at all"] = b""
    return blocks


def test_a_header_that_is_no_call_ends_its_own_stream_only(echo: Transport, peer: Peer) -> None:
    """All on one connection, whose other calls are answered, and whose table holds what such a header has put there.

    All at once, because grpc's core takes its time for each: 0.1 to 1 s.
    """
    cases = {peer.next_stream_id(): (name, encoded) for name, encoded in malformed().items()}
    for stream_id, (_, encoded) in cases.items():
        kept = literal("x-kept", str(stream_id), ADDED) if encoded else b""
        peer.send(headers(stream_id, encoded + kept), data(stream_id, prefixed(b"x"), end=True))
    stream_id = peer.next_stream_id()
    peer.send(headers(stream_id, REQUEST + indexed(NEWEST)), data(stream_id, prefixed(b"x"), end=True))
    assert peer.answer(stream_id).well
    answers = {name: peer.answer(one) for one, (name, _) in cases.items()}
    assert {name for name, answer in answers.items() if not answer.failed} == set()
    assert peer.ask() == b"ask"


def test_a_field_for_the_next_hop_does_no_harm(peer: Peer) -> None:
    """HTTP/2 calls ``connection`` malformed; grpc's core lets it pass. No other call suffers."""
    answer = peer.answer(peer.start(b"x", ("connection", "keep-alive")))
    assert answer.failed or answer.well
    assert peer.ask() == b"ask"
