"""A stream of HTTP/2 that is open, whoever answers it: a call of the lane's own, or one that is relayed."""

from __future__ import annotations

from typing import Protocol

__all__ = ["OpenStream"]


class OpenStream(Protocol):
    """What its connection tells it. All of it on the lane's thread."""

    @property
    def id(self) -> int:
        """Its number on the connection."""
        ...

    @property
    def begun(self) -> bool:
        """Whether a header was sent and more is to come."""
        ...

    @property
    def widened(self) -> int:
        """How much more than at the beginning the caller takes on it, in bytes; less than 0 where less."""
        ...

    @property
    def room(self) -> memoryview | None:
        """Where the next data may be put, told by :meth:`filled`; None where they come by :meth:`data`."""
        ...

    def data(self, data: bytes, begin: int, end: int, ends: bool, /) -> None:  # noqa: FBT001  # by position: it is of each call
        """Data came, between two positions; ``ends``: and they were the last."""

    def filled(self, size: int, *, ends: bool) -> None:
        """So many bytes were put into :attr:`room`."""

    def half_close(self) -> None:
        """The caller has sent all it will."""

    def widen(self, size: int, /) -> None:
        """The caller takes so many more bytes of the answer."""

    def all_sent(self, window: int, /) -> None:
        """What windows held back has been sent, and the caller takes so much now."""

    def drop(self) -> None:
        """The caller has gone away."""
