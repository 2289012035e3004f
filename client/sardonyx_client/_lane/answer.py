"""One call's answer as it arrives: fields, message, status; and how the call ended. No I/O."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np

from sardonyx_client._lane.failure import LaneFailure, code_of_reset
from sardonyx_client._lane.fields import HTTP_OK
from sardonyx_wire.http2.frames import LARGEST_WINDOW_BYTES, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._lane.fields import Section

__all__ = ["Answer"]

# Before each message: whether it is compressed, and its length (gRPC over HTTP/2).
_PREFIX_BYTES: Final = 5
# Answers up to this size are copied out of the buffer that the socket is read into; larger ones are read in place.
_COPIED_BYTES: Final = 64 * 1024
# zlib's numbers for the formats that gRPC calls gzip and deflate.
_ZLIB_FORMATS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Answer:
    """What has come of an answer.

    Args:
        max_message_bytes: Most to accept, compressed or not; None = as much as a message can have.

    Attributes:
        ended: Nothing more comes.
        on_end: Told of it; None = nobody waits for being told.
    """

    __slots__ = (
        "_begun", "_compressed", "_failure", "_filled", "_limit", "_message", "_opening", "_prefix", "_size", "_target",
        "_trailers", "ended", "on_end",
    )  # fmt: skip

    def __init__(self, max_message_bytes: int | None) -> None:
        self._limit = max_message_bytes
        self._opening: Section | None = None
        self._trailers: Section | None = None
        self._failure: LaneFailure | None = None
        self._prefix = b""
        self._begun = False
        self._size = 0
        self._compressed = False
        self._message: bytes | memoryview | None = None
        self._target: memoryview | None = None
        self._filled = 0
        self.ended = False
        self.on_end: Callable[[], None] | None = None

    def fields(self, section: Section, *, end: bool) -> None:
        """A header block came. ``end``: and nothing behind it."""
        if end:
            self._trailers = section
            self._end()
        elif section.informational:
            return
        elif self._opening is None:
            self._opening = section
            if section.http_status != HTTP_OK:
                self.fail(
                    LaneFailure(section.http_code, f"the answer is no gRPC; its HTTP status is {section.http_status}")
                )
        else:
            self.fail(LaneFailure(grpc.StatusCode.INTERNAL, "the server sent a second header within its answer"))

    def data(self, view: memoryview) -> None:
        """A piece of the message came; the view is only good until this returns."""
        if not self._begun and not self._prefix and len(view) >= _PREFIX_BYTES:
            size = int.from_bytes(view[1:_PREFIX_BYTES])
            if len(view) == size + _PREFIX_BYTES and size <= _COPIED_BYTES:
                # The whole message in one frame, as nearly always.
                self._begin(view[0], size)
                self._message = bytes(view[_PREFIX_BYTES:])
                return
        while view and self._failure is None:
            view = self._piece(view)

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes of a large message may be read to directly; None where they come by :meth:`data`."""
        return None if self._target is None else self._target[self._filled :]

    def filled(self, size: int) -> None:
        """So many bytes were read into :attr:`room`."""
        self._filled += size
        if self._filled == self._size:
            # Results are views of it.
            self._message = None if self._target is None else self._target.toreadonly()
            self._target = None

    def data_ended(self) -> None:
        """The server ended its answer without a status."""
        self.fail(LaneFailure(grpc.StatusCode.INTERNAL, "the server ended its answer without a status"))

    def reset(self, code: int) -> None:
        """The server ended the stream."""
        if self.ended:
            return
        self.fail(
            LaneFailure(
                code_of_reset(code),
                f"the server reset the stream with error {code} of HTTP/2",
                unprocessed=code == ErrorCode.REFUSED_STREAM,
                committed=self._opening is not None,
            )
        )

    def fail(self, failure: LaneFailure) -> LaneFailure:
        """The call is over, and this is why. Nothing where it was over before. Returns ``failure``."""
        if not self.ended:
            self._failure = failure
            self._end()
        return failure

    def lost(self, reason: str, *, unprocessed: bool = False) -> LaneFailure:
        """The connection is gone."""
        return self.fail(
            LaneFailure(
                grpc.StatusCode.UNAVAILABLE, reason, unprocessed=unprocessed, committed=self._opening is not None
            )
        )

    def message(self) -> bytes | memoryview:
        """The message of a call that ended well.

        Raises:
            LaneFailure: It did not.
        """
        trailers = self._trailers
        if (
            self._failure is None
            and trailers is not None
            and trailers.code is grpc.StatusCode.OK
            and self._message is not None
        ):
            return self._decompressed(self._message) if self._compressed else self._message
        raise self._why()

    def _end(self) -> None:
        self._target = None
        if not self.ended:
            self.ended = True
            if self.on_end is not None:
                self.on_end()

    def _piece(self, view: memoryview) -> memoryview:
        """Take what belongs to one part of the message; returns the rest."""
        if not self._begun:
            missing = _PREFIX_BYTES - len(self._prefix)
            self._prefix += bytes(view[:missing])
            if len(self._prefix) == _PREFIX_BYTES:
                self._size = int.from_bytes(self._prefix[1:])
                self._begin(self._prefix[0], self._size)
                if self._failure is None:
                    self._allocate()
            return view[missing:]
        room = self.room
        if room is None:
            self.fail(LaneFailure(grpc.StatusCode.INTERNAL, "the server sent a second message in a unary call"))
            return view[:0]
        taken = min(len(room), len(view))
        room[:taken] = view[:taken]
        self.filled(taken)
        return view[taken:]

    def _allocate(self) -> None:
        try:
            # numpy's memory is not filled with zeros first.
            self._target = np.empty(self._size, np.uint8).data
        except MemoryError:
            text = f"there is no memory for the server's answer of {self._size} bytes"
            self.fail(LaneFailure(grpc.StatusCode.RESOURCE_EXHAUSTED, text))
        else:
            self.filled(0)

    def _begin(self, flag: int, size: int) -> None:
        """The message's prefix came."""
        self._begun = True
        self._compressed = flag == 1
        limit = LARGEST_WINDOW_BYTES if self._limit is None else self._limit
        if self._opening is None:
            self.fail(LaneFailure(grpc.StatusCode.INTERNAL, "the server sent a message before its header"))
        elif flag > 1:
            self.fail(LaneFailure(grpc.StatusCode.INTERNAL, f"the server's message begins with {flag}, not 0 or 1"))
        elif size > limit:
            self.fail(_too_large(f"{size} bytes", limit))

    def _decompressed(self, message: bytes | memoryview) -> bytes:
        encoding = "identity" if self._opening is None else self._opening.encoding
        wbits = _ZLIB_FORMATS.get(encoding)
        if wbits is None:
            raise LaneFailure(
                grpc.StatusCode.INTERNAL, f"the answer is compressed as {encoding!r}, which was not offered"
            )
        limit = LARGEST_WINDOW_BYTES if self._limit is None else self._limit
        reader = zlib.decompressobj(wbits)
        try:
            plain = reader.decompress(message, limit + 1)
        except zlib.error as error:
            raise LaneFailure(grpc.StatusCode.INTERNAL, f"the answer is no {encoding}: {error}") from error
        if len(plain) > limit:
            raise _too_large(f"more than {limit} bytes once it is decompressed", limit)
        if not reader.eof:
            raise LaneFailure(grpc.StatusCode.INTERNAL, f"the {encoding} of the answer is cut off")
        return plain

    def _why(self) -> LaneFailure:
        if self._failure is not None:
            return self._failure
        trailers = self._trailers
        if trailers is None:
            return LaneFailure(grpc.StatusCode.INTERNAL, "the answer has not ended; this is a bug of the client")
        if trailers.code is None:
            opening = self._opening or trailers
            return LaneFailure(
                opening.http_code, f"the answer has no grpc-status; its HTTP status is {opening.http_status}"
            )
        if trailers.code is grpc.StatusCode.OK:
            return LaneFailure(
                grpc.StatusCode.INTERNAL, "the server ended a unary call well, but sent no whole message"
            )
        return LaneFailure(
            trailers.code,
            trailers.text,
            trailing=trailers.metadata,
            pushback_ms=trailers.pushback_ms,
            committed=self._opening is not None,
        )


def _too_large(what: str, limit: int) -> LaneFailure:
    return LaneFailure(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"the server's answer has {what}, and at most {limit} are accepted; raise max_message_bytes of the client",
    )
