"""A relay without a socket: the test is the caller's side, and says what the stock server sends."""

from __future__ import annotations

from typing import Any

from sardonyx_server.rpc.lane.relay import Relay


class Caller:
    """The caller's side: keeps what it is told of streams."""

    peer = "ipv4:127.0.0.1:1"
    initial_window = 65_535
    stopping = False

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ended_ids: list[int] = []

    def send(self, _stream: Any, part: memoryview | bytes, _relay: Relay) -> None:
        """See ``relays.Relays``."""
        self.sent.append(bytes(part))

    def ended(self, stream: Any) -> None:
        """See ``relays.Relays``."""
        self.ended_ids.append(stream.id)


def opened() -> tuple[Relay, Caller, list[Relay]]:
    """A relay whose greeting has been written, its caller, and what it wants to be written from now on."""
    touched: list[Relay] = []
    caller: Any = Caller()
    relay = Relay(caller, touched.append)
    relay.outflow.out.clear()
    touched.clear()
    return relay, caller, touched


def test_a_relay_that_is_over_takes_nothing_more() -> None:
    """Nobody writes it any more: a caller that changes its settings for ever must not fill the memory."""
    relay, caller, touched = opened()
    relay.open(1, [], end=False)
    relay.outflow.out.clear()
    relay.lost()
    assert caller.ended_ids == [1]
    touched.clear()
    for _ in range(100):
        relay.set_initial_window(100_000)
        relay.returned(1 << 20)
    assert not relay.outflow.out
    assert not touched
