"""Closes a session at the moment when that delays the fewest requests: when the lane has just sent its answers."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.running.lane_thread import LaneThread

__all__ = ["close_when_idle"]

_MAX_WAIT_S: Final = 0.02
"""If the lane has not answered anybody for this long, a request at this very moment is unlikely."""


def close_when_idle(close: Callable[[], None], lane: LaneThread | None, *, max_wait_s: float = _MAX_WAIT_S) -> None:
    """Close a session, on the lane's thread or on this one. Blocks until it is closed. Any thread but the lane's.

    onnxruntime frees a session while holding the GIL, for 2 ms with a graph of 200 nodes, and no request is served
    meanwhile. Started at an arbitrary moment, this delays requests that are being answered. Started when the lane has
    just sent all answers, it has the time until the next request arrives.

    Args:
        close: ``Session.close`` of the session.
        lane: None where there is no lane.
        max_wait_s: How long to wait until the lane is idle.

    Raises:
        Exception: Whatever ``close`` raised.
    """
    if lane is None:
        close()
        return
    closed: Future[None] = Future()

    def run_close() -> None:
        # An error belongs to the caller; it must not end the lane's thread.
        try:
            close()
        except Exception as error:  # noqa: BLE001  # raised below
            closed.set_exception(error)
        else:
            closed.set_result(None)

    lane.call_when_idle(run_close)
    wait([closed], max_wait_s)
    if lane.cancel_idle_call(run_close):
        run_close()
    closed.result()
