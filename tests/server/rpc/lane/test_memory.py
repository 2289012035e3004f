"""Where memory is short: the call that wants much of it hears so, and the lane goes on."""

from __future__ import annotations

import gzip
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

import pytest

if sys.platform != "linux":
    pytest.skip("the lane needs Linux", allow_module_level=True)

from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.errors import MessageTooLarge
from sardonyx_server.rpc.lane.messages.compression import decompress
from sardonyx_server.rpc.lane.messages.message_assembly import MessageAssembly
from sardonyx_wire.protobuf_fields import MessageParts
from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.transports import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.call import Call

GIB: Final = 1 << 30
ASKS_FOR_GZIP: Final = ("grpc-accept-encoding", "gzip")


class TooLarge(MessageParts):
    """A message of which there is no room for a copy."""

    def __bytes__(self) -> bytes:
        raise MemoryError


def test_an_answer_that_there_is_no_room_to_compress_is_sent_as_it_is() -> None:
    """The lane's thread ended for it, where the answer came from a runner."""
    payload = bytes(100_000)
    calls: list[Call] = []
    with (
        opened("lane", react=lambda _message, call: calls.append(call), compression="high") as transport,
        Peer(transport.address) as peer,
    ):
        for _ in range(2):
            stream_id = peer.start(b"ask", ASKS_FOR_GZIP)
            # From this thread, as from a runner's.
            while not calls:
                peer.settle()
            calls.pop().reply(TooLarge([b"head", memoryview(payload)]))
            answer = peer.answer(stream_id)
            assert answer.well
            assert answer.messages == [b"head" + payload]


def refused(work: Callable[[], object]) -> tuple[str, str]:
    """What a caller hears, and the reason."""
    try:
        work()
    except MessageTooLarge as error:
        return error.message, error.reason
    raise AssertionError("there was room")


def where_little_is_left() -> tuple[list[tuple[str, str]], int]:
    """In a process of its own: what is said to messages of a GiB, and how much of the budget is in use afterwards."""
    budget = ByteBudget(2 * GIB)
    packed = gzip.compress(bytes(GIB // 4))
    used = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:  # noqa: PTH123  # of this process
        size = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + GIB // 8, used[1]))
    prefix = memoryview(b"\0" + GIB.to_bytes(4))
    said = [
        refused(lambda: MessageAssembly(2 * GIB, budget, b"").feed(prefix)),
        refused(lambda: decompress(packed, b"gzip", 2 * GIB)),
    ]
    return said, budget.used_bytes


def test_a_message_that_there_is_no_room_for_is_refused() -> None:
    """As it comes, and where it would be decompressed; nothing stays reserved for it."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as alone:
        said, used_bytes = alone.submit(where_little_is_left).result()
    assert said == [
        (f"not enough memory for the message, which has {GIB} bytes; send less at a time, or later", "OUT_OF_MEMORY"),
        ("not enough memory to decompress the message", "OUT_OF_MEMORY"),
    ]
    assert not used_bytes
