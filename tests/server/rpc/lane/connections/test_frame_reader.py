"""The frames of nearly all requests are read by a short way, which says the same as the way of any frame."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

if sys.platform != "linux":
    pytest.skip("the lane needs Linux", allow_module_level=True)

from sardonyx_server.rpc.lane.connections.frame_reader import FrameReader
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import FRAME_HEADER_BYTES, PREFACE, frame, settings

# Kind, flags, number of the stream with its reserved bit, size, and how much of it is missing.
Frame = tuple[int, int, int, int, int]

frames = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 1, 3, 6, 9]),
        st.sampled_from([0, 1, 1, 4, 4, 5, 8, 9, 12, 32, 36]),
        st.sampled_from([0, 1, 3, 2**31 + 1]),
        st.sampled_from([0, 1, 5, 40, 65_535, 65_536, 65_537]),
        st.sampled_from([0, 0, 0, 0, 1]),
    ),
    max_size=6,
)


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def on_preface(self) -> None:
        """The preface."""
        self.said.append("preface")

    def on_window_used(self, size: int) -> None:
        """Of the window."""
        self.said.append(("used", size))

    def on_data(self, stream_id: int, data: bytes, begin: int, end: int, ends: bool, /) -> None:
        """What is between."""
        self.said.append(("data", stream_id, data[begin:end], ends))

    def on_padding(self, stream_id: int, size: int) -> None:
        """Of data."""
        self.said.append(("padded", stream_id, size))

    def on_headers(self, stream_id: int, block: bytes, ends: bool, /) -> None:
        """A block."""
        self.said.append(("header", stream_id, block, ends))

    def on_control(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """The rest."""
        self.said.append(("control", kind, flags, stream_id, body))


def preface_received() -> tuple[FrameReader, Heard]:
    """A reader of a caller that has sent its settings."""
    heard = Heard()
    reader = FrameReader(heard)
    reader.receive(PREFACE + settings({}))
    heard.said.clear()
    return reader, heard


def refusal(read: Callable[[], object]) -> str | None:
    """Why the connection is broken off, if it is."""
    try:
        read()
    except Http2ConnectionError as error:
        return str(error)
    return None


@given(frames)
def test_both_ways_say_the_same(sent: list[Frame]) -> None:
    """Of whole frames and of the one that is cut off, with any flags; and both break off at the same one."""
    (short, heard), (long, expected) = preface_received(), preface_received()
    for kind, flags, stream_id, size, missing in sent:
        whole = frame(kind, flags, stream_id, bytes(range(256)) * (size // 256) + bytes(size % 256))
        data = whole[: len(whole) - missing] if size else whole
        said = partial(long._any_frame, kind, flags, stream_id & (2**31 - 1), data, FRAME_HEADER_BYTES, len(whole))
        broken = refusal(partial(short.receive, data))
        assert broken == refusal(said)
        assert (short.data_left, short.data_stream_id, short.data_ends) == (
            long.data_left,
            long.data_stream_id,
            long.data_ends,
        )
        if broken or len(data) < len(whole):
            break  # The next frame would be the rest of this one.
    assert heard.said == expected.said
