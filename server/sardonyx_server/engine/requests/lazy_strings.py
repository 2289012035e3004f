"""Large string tensors, decoded when the model runs instead of when the request arrives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LANE_STRINGS", "LANE_STRING_BYTES", "LazyStringSlice", "LazyStrings"]

LANE_STRINGS: Final = 4096
"""Most strings that are decoded on the thread that receives requests, which takes a millisecond. Sixty million in one
message took 2.7 s, in which no request to any model was served (2026-11-26)."""

LANE_STRING_BYTES: Final = 4 * 1024 * 1024
"""Most bytes of such strings: UTF-8 is validated byte by byte."""


class LazyStrings:
    """All strings of one input of a request, decoded at the first access. Any thread.

    Args:
        decode: Decodes the strings; called once if it does not raise, and then released with all that it references.
        raw: The raw contents; None if they were sent as typed contents.

    Attributes:
        decoded: Whether the strings have been decoded.
        raw: As given, until the strings are decoded.
    """

    __slots__ = ("_decode", "_lock", "_texts", "raw")

    def __init__(self, decode: Callable[[], list[str]], raw: memoryview | None = None) -> None:
        self.raw = raw
        self._decode: Callable[[], list[str]] | None = decode
        self._lock = threading.Lock()
        self._texts: list[str] = []

    @property
    def decoded(self) -> bool:
        """See the class."""
        return self._decode is None

    def texts(self) -> list[str]:
        """Return the strings. Decodes them, or waits for the thread that does. Raises what ``decode`` raises."""
        with self._lock:
            if self._decode is not None:
                self._texts = self._decode()
                self._decode = self.raw = None
            return self._texts


class LazyStringSlice:
    """A range of lazy strings: those of one part of a request, which may be split into several.

    Args:
        strings: All strings of the input.
        start: Index of the first.
        stop: Index after the last.
    """

    __slots__ = ("_start", "_stop", "_strings")

    def __init__(self, strings: LazyStrings, start: int, stop: int) -> None:
        self._strings = strings
        self._start = start
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> LazyStringSlice:
        """A range of this range. Requires: the slice has no step."""
        start, stop, _ = part.indices(len(self))
        return LazyStringSlice(self._strings, self._start + start, self._start + stop)

    @property
    def raw(self) -> memoryview | None:
        """Raw contents of the whole input; None if they were sent as typed contents. Requires: not decoded yet."""
        if self._strings.decoded:
            raise AssertionError("bug: strings that were decoded are asked for as they came")
        return self._strings.raw

    def texts(self) -> list[str]:
        """Return the strings, decoded. Blocks while another thread decodes strings of the same input.

        Raises:
            InvalidRequest: The strings do not match the header.
        """
        return self._strings.texts()[self._start : self._stop]
