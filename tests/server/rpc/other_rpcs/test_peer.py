"""Whose word on who calls is taken: the lane's, and nobody else's behind it."""

from __future__ import annotations

import pytest

from sardonyx_server.errors import Unauthenticated
from sardonyx_server.rpc.other_rpcs.peer import PEER_KEY, peer_of, peer_value

CALLER = "ipv6:[::1]:1"


def test_a_caller_of_the_port_is_who_is_connected() -> None:
    """Whatever it says."""
    assert peer_of([(PEER_KEY, "ipv4:10.0.0.1:1")], CALLER) == CALLER


@pytest.mark.parametrize("behind", ["unix:", "unix-abstract:sardonyx", "unix"])
def test_the_lane_says_who_called(behind: str) -> None:
    """Among all other metadata, as text or as bytes."""
    value = peer_value(CALLER)
    assert peer_of([("who", "me"), (PEER_KEY, value.decode())], behind) == CALLER
    assert peer_of([(PEER_KEY, value)], behind) == CALLER


@pytest.mark.parametrize(
    "claimed",
    ["", CALLER, f" {CALLER}", f"{'0' * 64} {CALLER}", peer_value(CALLER).decode()[1:], "\xe9", "\udce9", b"\xff\xff"],
)
def test_nobody_else_does(claimed: str | bytes) -> None:
    """Nor is whoever says nothing let in."""
    for metadata in ([(PEER_KEY, claimed)], [(PEER_KEY, claimed), (PEER_KEY, claimed)], []):
        with pytest.raises(Unauthenticated, match=r"^this socket is internal to the server; call the server's port"):
            peer_of(metadata, "unix:")
