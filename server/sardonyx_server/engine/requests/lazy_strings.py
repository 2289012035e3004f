"""Many strings of one request, decoded when the model runs rather than when they come. Knows no model and no queue."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LANE_STRINGS", "LANE_STRING_BYTES", "LazyStringSlice", "LazyStrings"]

LANE_STRINGS: Final = 4096
"""Most strings that are decoded where requests are taken in, which takes a millisecond; sixty million in one message
took 2.7 s, in which no caller of any model was heard (2026-11-26)."""

LANE_STRING_BYTES: Final = 4 * 1024 * 1024
"""Likewise their bytes: UTF-8 is looked at byte by byte."""


class LazyStrings:
    """All strings of one input of a request. Any thread.

    Args:
        decode: Makes them; called once where it raises nothing, and then let go with what it holds.
        raw: As they came; None where they came as typed contents.

    Attributes:
        decoded: Whether they have been.
        raw: As given, until they are decoded.
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
        """Decode them, or wait for the thread that does. Raises what ``decode`` does."""
        with self._lock:
            if self._decode is not None:
                self._texts = self._decode()
                self._decode = self.raw = None
            return self._texts


class LazyStringSlice:
    """Some of them: those that one run takes, for a request may be cut into several.

    Args:
        whole: Of the request.
        start: The first.
        stop: The one behind the last.
    """

    __slots__ = ("_start", "_stop", "_whole")

    def __init__(self, whole: LazyStrings, start: int, stop: int) -> None:
        self._whole = whole
        self._start = start
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> LazyStringSlice:
        """Some of these. Requires: no step."""
        start, stop, _ = part.indices(len(self))
        return LazyStringSlice(self._whole, self._start + start, self._start + stop)

    @property
    def raw(self) -> memoryview | None:
        """All of the request as they came; None where they came as typed contents. Requires: not decoded."""
        if self._whole.decoded:
            raise AssertionError("bug: strings that were decoded are asked for as they came")
        return self._whole.raw

    def texts(self) -> list[str]:
        """Decode them. Blocks, also where another thread decodes others of the same request.

        Raises:
            InvalidRequest: They are not what the request says.
        """
        return self._whole.texts()[self._start : self._stop]
