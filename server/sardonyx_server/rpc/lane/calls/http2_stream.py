"""Interface of an open HTTP/2 stream to its connection: of a call that the lane serves, or one that is proxied."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Http2Stream"]


class Http2Stream(Protocol):
    """The events of one stream, called by its connection on the lane's thread."""

    @property
    def id(self) -> int:
        """The stream id."""
        ...

    @property
    def headers_sent(self) -> bool:
        """Whether response headers were sent and the stream is still open."""
        ...

    @property
    def window_delta(self) -> int:
        """The stream's send window less the initial window, in bytes. May be negative."""
        ...

    @property
    def receive_buffer(self) -> memoryview | None:
        """Buffer for the next data, to be followed by :meth:`buffer_updated`; None = pass them to :meth:`on_data`."""
        ...

    def on_data(self, data: bytes, begin: int, end: int, ends: bool, /) -> None:  # noqa: FBT001  # by position: it is of each call
        """Receive ``data[begin:end]``, the payload of a DATA frame; ``ends``: END_STREAM was set."""

    def buffer_updated(self, size: int, *, ends: bool) -> None:
        """The first ``size`` bytes of :attr:`receive_buffer` have been filled; ``ends``: END_STREAM was set."""

    def half_close(self) -> None:
        """The caller has sent END_STREAM."""

    def on_window_update(self, size: int, /) -> None:
        """The caller has increased the send window of the stream by ``size`` bytes."""

    def on_all_sent(self, window: int, /) -> None:
        """All data that were blocked by flow control have been sent; the send window is now ``window`` bytes."""

    def cancel(self) -> None:
        """The caller has reset the stream or gone away."""
