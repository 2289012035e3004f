"""How much callers may send on a stream: wide, narrow while messages are refused, and wide again."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.rpc.lane.flow_control.inflow import (
    MAX_STREAM_WINDOW_BYTES,
    NARROW_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
    Inflow,
)
from tests.server.rpc.http2.wire import FRAME_HEADER, FrameType

# One stream begins, the oldest ends, a message is refused, or a second passes.
STEPS: Final = st.lists(st.sampled_from(["begin", "begin with all its room", "end", "refuse", "wait"]), max_size=40)


class Caller:
    """Keeps account of what it may send, by RFC 9113, section 6.9.2."""

    def __init__(self) -> None:
        self.initial = STREAM_WINDOW_BYTES
        self.windows: defaultdict[int, int] = defaultdict(lambda: self.initial)
        self.frames: list[int] = []

    def hear(self, frames: bytes) -> None:
        """What the server says."""
        while frames:
            high, low, kind, _, stream_id = FRAME_HEADER.unpack_from(frames)
            body = frames[FRAME_HEADER.size : FRAME_HEADER.size + (high << 16 | low)]
            frames = frames[FRAME_HEADER.size + len(body) :]
            self.frames.append(kind)
            if kind == FrameType.SETTINGS:
                value = int.from_bytes(body[2:])
                for one in self.windows:
                    self.windows[one] += value - self.initial
                self.initial = value
            else:
                self.windows[stream_id] += int.from_bytes(body)


def test_windows_are_narrow_after_a_refusal_until_a_second_without_one() -> None:
    """The caller hears of either once."""
    caller = Caller()
    inflow = Inflow(caller.hear)
    inflow.narrow([], 10.0)
    inflow.narrow([], 10.5)
    assert (inflow.window, caller.initial, caller.frames) == (
        NARROW_WINDOW_BYTES,
        NARROW_WINDOW_BYTES,
        [FrameType.SETTINGS],
    )
    inflow.widen([], 11.4)
    assert inflow.window == NARROW_WINDOW_BYTES
    inflow.widen([], 11.5)
    assert (inflow.window, caller.initial) == (STREAM_WINDOW_BYTES, STREAM_WINDOW_BYTES)
    assert caller.frames == [FrameType.SETTINGS] * 2


@given(STEPS)
def test_who_has_its_room_keeps_it_and_nobody_gets_more_than_there_is(steps: list[str]) -> None:
    """Whatever comes in which order; a stream that waits to be given its room knows what it has."""
    caller = Caller()
    inflow = Inflow(caller.hear)
    begun: dict[int, int] = {}
    now_s, next_id = 10.0, 1
    for step in steps:
        if step.startswith("begin"):
            if inflow.window == NARROW_WINDOW_BYTES:
                inflow.widen(begun, now_s)
            begun[next_id] = inflow.window
            assert caller.windows[next_id] == inflow.window
            if step != "begin":
                begun[next_id] = STREAM_WINDOW_BYTES
                inflow.grant(next_id)
            next_id += 2
        elif step == "end" and begun:
            del begun[min(begun)]
        elif step == "refuse":
            inflow.narrow(begun, now_s)
        elif step == "wait":
            now_s += 1.0
        assert caller.initial == inflow.window
        for one, least in begun.items():
            assert least <= caller.windows[one] <= MAX_STREAM_WINDOW_BYTES
