"""One call's response as it arrives: headers, message, trailers; and how the call ended. No I/O."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np

from sardonyx_client._http2.errors import Http2RpcError, status_of_reset
from sardonyx_client._http2.response_headers import HTTP_OK
from sardonyx_wire.http2.frames import LARGEST_WINDOW_BYTES, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._http2.response_headers import ResponseHeaders

__all__ = ["Response"]

# Prefix of a gRPC message: the compressed flag, and the length (gRPC over HTTP/2, "Length-Prefixed-Message").
_PREFIX_BYTES: Final = 5
# Messages up to this size are copied out of the receive buffer; larger ones are received into memory of their own.
_COPY_LIMIT_BYTES: Final = 64 * 1024
# zlib's numbers for the formats that gRPC calls gzip and deflate.
_ZLIB_FORMATS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Response:
    """The response of one unary call.

    Args:
        max_message_bytes: Largest message accepted, compressed or not; None = no limit but the protocol's.

    Attributes:
        ended: Whether the call is over.
        on_end: Called once when the call ends; None = nothing is called.
    """

    __slots__ = (
        "_buffer",
        "_compressed",
        "_failure",
        "_filled",
        "_headers",
        "_limit",
        "_message",
        "_prefix",
        "_size",
        "_started",
        "_trailers",
        "ended",
        "on_end",
    )  # fmt: skip

    def __init__(self, max_message_bytes: int | None) -> None:
        self._limit = max_message_bytes
        self._headers: ResponseHeaders | None = None
        self._trailers: ResponseHeaders | None = None
        self._failure: Http2RpcError | None = None
        self._prefix = b""
        self._started = False
        self._size = 0
        self._compressed = False
        self._message: bytes | memoryview | None = None
        self._buffer: memoryview | None = None
        self._filled = 0
        self.ended = False
        self.on_end: Callable[[], None] | None = None

    def headers_received(self, headers: ResponseHeaders, *, end: bool) -> None:
        """Take a header block. ``end``: it ends the stream, so these are the trailers."""
        if end:
            self._trailers = headers
            self._end()
        elif headers.informational:
            return
        elif self._headers is None:
            self._headers = headers
            if headers.http_status != HTTP_OK:
                self.fail(
                    Http2RpcError(headers.http_code, f"the answer is no gRPC; its HTTP status is {headers.http_status}")
                )
        else:
            self.fail(Http2RpcError(grpc.StatusCode.INTERNAL, "the server sent a second header within its answer"))

    def data_received(self, view: memoryview) -> None:
        """Take a part of the message. The view is valid only until this returns."""
        if not self._started and not self._prefix and len(view) >= _PREFIX_BYTES:
            size = int.from_bytes(view[1:_PREFIX_BYTES])
            if len(view) == size + _PREFIX_BYTES and size <= _COPY_LIMIT_BYTES:
                # The whole message is in one frame, which is nearly always so.
                self._start_message(view[0], size)
                self._message = bytes(view[_PREFIX_BYTES:])
                return
        while view and self._failure is None:
            view = self._receive_part(view)

    @property
    def buffer(self) -> memoryview | None:
        """Where to receive the rest of a large message directly; None = pass data to :meth:`data_received`."""
        return None if self._buffer is None else self._buffer[self._filled :]

    def buffer_updated(self, size: int) -> None:
        """``size`` bytes were received into :attr:`buffer`."""
        self._filled += size
        if self._filled == self._size:
            # Read-only, because results are views of it.
            self._message = None if self._buffer is None else self._buffer.toreadonly()
            self._buffer = None

    def ended_without_status(self) -> None:
        """The server ended the stream with data, so without trailers."""
        self.fail(Http2RpcError(grpc.StatusCode.INTERNAL, "the server ended its answer without a status"))

    def stream_reset(self, code: int) -> None:
        """The server reset the stream (RST_STREAM)."""
        if self.ended:
            return
        self.fail(
            Http2RpcError(
                status_of_reset(code),
                f"the server reset the stream with error {code} of HTTP/2",
                unprocessed=code == ErrorCode.REFUSED_STREAM,
                committed=self._headers is not None,
            )
        )

    def fail(self, failure: Http2RpcError) -> Http2RpcError:
        """End the call with an error, unless it has ended already. Returns ``failure``."""
        if not self.ended:
            self._failure = failure
            self._end()
        return failure

    def connection_lost(self, reason: str, *, unprocessed: bool = False) -> Http2RpcError:
        """The connection is lost. ``unprocessed``: the server cannot have seen the whole request."""
        return self.fail(
            Http2RpcError(
                grpc.StatusCode.UNAVAILABLE, reason, unprocessed=unprocessed, committed=self._headers is not None
            )
        )

    def message(self) -> bytes | memoryview:
        """The message of a call that succeeded.

        Raises:
            Http2RpcError: The call failed.
        """
        trailers = self._trailers
        if (
            self._failure is None
            and trailers is not None
            and trailers.code is grpc.StatusCode.OK
            and self._message is not None
        ):
            return self._decompressed(self._message) if self._compressed else self._message
        raise self._error()

    def _end(self) -> None:
        self._buffer = None
        if not self.ended:
            self.ended = True
            if self.on_end is not None:
                self.on_end()

    def _receive_part(self, view: memoryview) -> memoryview:
        """Take the prefix or the message from the front of ``view``; returns the rest."""
        if not self._started:
            missing = _PREFIX_BYTES - len(self._prefix)
            self._prefix += bytes(view[:missing])
            if len(self._prefix) == _PREFIX_BYTES:
                self._size = int.from_bytes(self._prefix[1:])
                self._start_message(self._prefix[0], self._size)
                if self._failure is None:
                    self._allocate()
            return view[missing:]
        buffer = self.buffer
        if buffer is None:
            self.fail(Http2RpcError(grpc.StatusCode.INTERNAL, "the server sent a second message in a unary call"))
            return view[:0]
        taken = min(len(buffer), len(view))
        buffer[:taken] = view[:taken]
        self.buffer_updated(taken)
        return view[taken:]

    def _allocate(self) -> None:
        try:
            # numpy does not zero the memory first.
            self._buffer = np.empty(self._size, np.uint8).data
        except MemoryError:
            text = f"there is no memory for the server's answer of {self._size} bytes"
            self.fail(Http2RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, text))
        else:
            self.buffer_updated(0)

    def _start_message(self, flag: int, size: int) -> None:
        """The message's prefix is complete: check it."""
        self._started = True
        self._compressed = flag == 1
        limit = LARGEST_WINDOW_BYTES if self._limit is None else self._limit
        if self._headers is None:
            self.fail(Http2RpcError(grpc.StatusCode.INTERNAL, "the server sent a message before its header"))
        elif flag > 1:
            self.fail(Http2RpcError(grpc.StatusCode.INTERNAL, f"the server's message begins with {flag}, not 0 or 1"))
        elif size > limit:
            self.fail(_too_large(f"{size} bytes", limit))

    def _decompressed(self, message: bytes | memoryview) -> bytes:
        encoding = "identity" if self._headers is None else self._headers.encoding
        wbits = _ZLIB_FORMATS.get(encoding)
        if wbits is None:
            raise Http2RpcError(
                grpc.StatusCode.INTERNAL, f"the answer is compressed as {encoding!r}, which was not offered"
            )
        limit = LARGEST_WINDOW_BYTES if self._limit is None else self._limit
        reader = zlib.decompressobj(wbits)
        try:
            plain = reader.decompress(message, limit + 1)
        except zlib.error as error:
            raise Http2RpcError(grpc.StatusCode.INTERNAL, f"the answer is no {encoding}: {error}") from error
        if len(plain) > limit:
            raise _too_large(f"more than {limit} bytes once it is decompressed", limit)
        if not reader.eof:
            raise Http2RpcError(grpc.StatusCode.INTERNAL, f"the {encoding} of the answer is cut off")
        return plain

    def _error(self) -> Http2RpcError:
        if self._failure is not None:
            return self._failure
        trailers = self._trailers
        if trailers is None:
            return Http2RpcError(grpc.StatusCode.INTERNAL, "the answer has not ended; this is a bug of the client")
        if trailers.code is None:
            headers = self._headers or trailers
            return Http2RpcError(
                headers.http_code, f"the answer has no grpc-status; its HTTP status is {headers.http_status}"
            )
        if trailers.code is grpc.StatusCode.OK:
            return Http2RpcError(
                grpc.StatusCode.INTERNAL, "the server ended a unary call well, but sent no whole message"
            )
        return Http2RpcError(
            trailers.code,
            trailers.text,
            trailing=trailers.metadata,
            pushback_ms=trailers.pushback_ms,
            committed=self._headers is not None,
        )


def _too_large(what: str, limit: int) -> Http2RpcError:
    return Http2RpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"the server's answer has {what}, and at most {limit} are accepted; raise max_message_bytes of the client",
    )
