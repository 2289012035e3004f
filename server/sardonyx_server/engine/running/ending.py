"""Ends a session when that is noticed least: when the lane has just answered. Decides nothing else about sessions."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.running.lane_thread import LaneThread

__all__ = ["end_session"]

_QUIET_S: Final = 0.02
"""Where the lane has answered nobody for so long, nobody is likely to ask at this very moment."""


def end_session(close: Callable[[], None], lane: LaneThread | None, *, quiet_s: float = _QUIET_S) -> None:
    """Close a session, on the lane's thread or on this one. Blocks until it is closed; any thread but the lane's.

    onnxruntime frees a session under the interpreter's lock, 2 ms for a graph of 200 nodes, and nobody is served
    meanwhile. Begun at any moment, that strikes requests that are being answered. Begun when the lane has just answered
    all there were, it has the time until the next one comes.

    Args:
        close: The session's; see ``Session.close``.
        lane: None where there is no lane.
        quiet_s: How long to wait for the lane to answer somebody.
    """
    if lane is None:
        close()
        return
    over: Future[None] = Future()

    def end() -> None:
        # An error is the caller's: it must not end the lane.
        try:
            close()
        except Exception as error:  # noqa: BLE001  # raised below
            over.set_exception(error)
        else:
            over.set_result(None)

    lane.between(end)
    wait([over], quiet_s)
    if lane.withdraw(end):
        end()
    over.result()
