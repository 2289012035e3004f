"""TLS over a socket that does not block: what the rest of the lane reads and writes is plain.

OpenSSL works on memory here, and not on the socket by itself: it would ask the system twice for each record of 16 KiB,
where one read gives all that have come.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["NotTls", "TlsSocket"]

# Largest contents of a record (RFC 8446, section 5.1): a read of so much takes one record, whole.
_RECORD_BYTES: Final = 16 * 1024
_HANDSHAKE_BYTES: Final = 64 * 1024
# Encrypted at a time: what waits for the socket beyond that waits where it lies. OpenSSL keeps as much memory for each
# connection that ever had it.
_ENCRYPTED_BYTES: Final = 64 * 1024
# Kind of the record that each connection begins with (RFC 8446, section 5.1).
_HANDSHAKE: Final = 22


class NotTls(Exception):
    """The other side does not speak TLS.

    Args:
        data: Its first bytes.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__("the first bytes are not those of a handshake")
        self.data = data


class TlsSocket(socket.socket):
    """The server's side of TLS over a connected socket. Not thread-safe; may be handed from one thread to another.

    As of any socket that does not block, its methods raise BlockingIOError where they must wait: for a record to come
    whole, or for room to write. Else they raise other kinds of OSError, and ``ssl.SSLError`` is one.

    As OpenSSL wants it of its own callers, who was told to wait when he wrote must write the same again.

    Args:
        connected: Does not block; its descriptor is this socket's from now on.
        context: Has certificate and key.

    Attributes:
        has_more: Whether there is more to read that epoll does not know of.
    """

    __slots__ = (
        "_encrypted", "_encrypted_of_bytes", "_incoming", "_is_tls", "_outgoing", "_ssl", "_write_closed", "has_more",
    )  # fmt: skip

    def __init__(self, connected: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(connected.family, connected.type, connected.proto, fileno=connected.detach())
        self.setblocking(False)  # noqa: FBT003  # its only argument
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # Encrypted, and not taken by the socket yet.
        self._encrypted = memoryview(b"")
        # Of so many bytes whose writer was told to wait.
        self._encrypted_of_bytes = 0
        self._is_tls = self._write_closed = self.has_more = False

    @property
    def must_write(self) -> bool:
        """Whether something waits for the socket to take it."""
        return bool(self._encrypted)

    def do_handshake(self) -> None:
        """Take the next step; all are done where it raises nothing.

        Raises:
            NotTls: The other side speaks something else.
            ssl.SSLError: The handshake has failed; the other side gets what :meth:`take_encrypted` gives.
            ConnectionError: The other side has gone.
        """
        self._push()
        data = super().recv(_HANDSHAKE_BYTES)
        if not data:
            raise ConnectionAbortedError("closed within the handshake")
        if not self._is_tls and data[0] != _HANDSHAKE:
            raise NotTls(data)
        self._is_tls = True
        self._incoming.write(data)
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            raise BlockingIOError from None
        self._flush()
        # A request may have come along.
        self.has_more = bool(self._incoming.pending)

    def take_encrypted(self) -> bytes:
        """What is encrypted and was not written. It is not written any more."""
        rest = bytes(self._encrypted) + self._outgoing.read()
        self._encrypted = memoryview(b"")
        return rest

    def plain(self) -> socket.socket:
        """The same connection without TLS. This object has no descriptor any more."""
        connected = socket.socket(self.family, self.type, self.proto, fileno=self.detach())
        connected.setblocking(False)  # noqa: FBT003  # its only argument
        return connected

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """What is in the records that have come whole, among the next so many bytes of the socket.

        Returns:
            Nothing where nothing more will come.
        """
        if self._write_closed:
            # To be dropped: it is not worth decrypting.
            return super().recv(bufsize, flags)
        if not self._fetch(bufsize):
            return b""
        parts: list[bytes] = []
        try:
            while True:
                part = self._ssl.read(_RECORD_BYTES)
                if not part:
                    # The other side has said that it sends no more. To be heard by the next call, where this has some.
                    self.has_more = bool(parts)
                    break
                parts.append(part)
                if not self._incoming.pending:
                    break
        except ssl.SSLWantReadError:
            if not parts:
                raise BlockingIOError from None
        finally:
            if self._outgoing.pending:
                self._flush()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:  # noqa: ARG002  # as a socket's
        """The same, decrypted to where it shall be."""
        room = memoryview(buffer)
        if self._write_closed:
            return super().recv_into(room)
        if not self._fetch(len(room)):
            return 0
        filled = 0
        try:
            while filled < len(room):
                # The stub does not know that with a buffer it gives a number.
                size: Any = self._ssl.read(len(room) - filled, room[filled:])
                filled += size
                self.has_more = bool(self._incoming.pending or self._ssl.pending() or (filled and not size))
                if not size or not self.has_more:
                    break
        except ssl.SSLWantReadError:
            self.has_more = False
            if not filled:
                raise BlockingIOError from None
        finally:
            if self._outgoing.pending:
                self._flush()
        return filled

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:  # noqa: ARG002  # as a socket's
        """Encrypt and write. Returns how much of it; the rest was not looked at."""
        self._push()
        written = self._ssl.write(memoryview(data)[:_ENCRYPTED_BYTES])
        encrypted = self._outgoing.read()
        try:
            sent = super().send(encrypted)
        except BlockingIOError:
            sent = 0
        if sent < len(encrypted):
            self._encrypted = memoryview(encrypted)[sent:]
            self._encrypted_of_bytes = written
            raise BlockingIOError
        return written

    def sendmsg(self, buffers: Iterable[ReadableBuffer], *_: Any) -> int:
        """The same, of parts that follow each other."""
        if self._encrypted:
            self._push()
            written, self._encrypted_of_bytes = self._encrypted_of_bytes, 0
            if written:
                return written
        return self.send(_joined(buffers))

    def shutdown(self, how: int, /) -> None:
        """Write nothing more, and say so (RFC 8446, section 6.1)."""
        self._write_closed = True
        self.has_more = False
        # It would like to hear the same of the other side.
        with suppress(ssl.SSLError):
            self._ssl.unwrap()
        self._flush()
        super().shutdown(how)

    def _fetch(self, size: int) -> bool:
        """Have something to decrypt. Returns whether there is; else nothing more will come."""
        if self.has_more:
            self.has_more = False
            return True
        data = super().recv(size)
        self._incoming.write(data)
        return bool(data)

    def _push(self) -> None:
        """Write what was encrypted, all of it."""
        while self._encrypted:
            self._encrypted = self._encrypted[super().send(self._encrypted) :]

    def _flush(self) -> None:
        """Write what OpenSSL says by itself; what the socket does not take goes ahead of what is written next."""
        if not self._encrypted:
            self._encrypted = memoryview(self._outgoing.read())
        with suppress(BlockingIOError):
            self._push()


def _joined(buffers: Iterable[ReadableBuffer]) -> bytes:
    """As much of the parts as is encrypted at a time."""
    parts: list[memoryview] = []
    left = _ENCRYPTED_BYTES
    for buffer in buffers:
        part = memoryview(buffer)[:left]
        parts.append(part)
        left -= len(part)
        if not left:
            break
    return b"".join(parts)
