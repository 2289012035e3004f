"""An open stream of HTTP/2 as its connection sees it: a call that the lane serves, or one that is proxied."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Http2Stream"]


class Http2Stream(Protocol):
    """The events of one stream, called by its connection on the lane's thread."""

    @property
    def id(self) -> int:
        """Its number on the connection."""
        ...

    @property
    def headers_sent(self) -> bool:
        """Whether a header was sent and more is to come."""
        ...

    @property
    def window_delta(self) -> int:
        """How much more than at the beginning the caller takes on it, in bytes; less than 0 where less."""
        ...

    @property
    def receive_buffer(self) -> memoryview | None:
        """Where the next data may be put, told by :meth:`buffer_updated`; None where they come by :meth:`on_data`."""
        ...

    def on_data(self, data: bytes, begin: int, end: int, ends: bool, /) -> None:  # noqa: FBT001  # by position: it is of each call
        """Data came, between two positions; ``ends``: and they were the last."""

    def buffer_updated(self, size: int, *, ends: bool) -> None:
        """So many bytes were put into :attr:`receive_buffer`."""

    def half_close(self) -> None:
        """The caller has sent all it will."""

    def on_window_update(self, size: int, /) -> None:
        """The caller takes so many more bytes of the answer."""

    def on_all_sent(self, window: int, /) -> None:
        """What windows held back has been sent, and the caller takes so much now."""

    def cancel(self) -> None:
        """The caller has gone away."""
