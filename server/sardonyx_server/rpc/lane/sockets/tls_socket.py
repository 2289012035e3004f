"""TLS over a non-blocking socket: the rest of the lane reads and writes plaintext.

OpenSSL works on memory buffers here, not on the socket. On the socket it would make two system calls for each record of
16 KiB, whereas one read from here gets all records that have arrived.
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

# Maximum plaintext of a record (RFC 8446, section 5.1): a read of this size returns one complete record.
_RECORD_BYTES: Final = 16 * 1024
# Ciphertext that is read from the socket at a time. For each connection, OpenSSL keeps as much memory as it ever needed
# at once.
_FETCHED_BYTES: Final = 64 * 1024
# Maximum plaintext that is encrypted at a time. Output beyond it stays unencrypted in the writer's buffers. For each
# connection, OpenSSL keeps as much memory as it ever needed at once.
_ENCRYPTED_BYTES: Final = 64 * 1024
# OpenSSL answers each KeyUpdate (RFC 8446, section 4.6.3). If more of its own messages are unsent, the peer does not
# read.
_MAX_UNSENT_BYTES: Final = 64 * 1024
# Type of the record that each connection begins with (RFC 8446, section 5.1).
_HANDSHAKE: Final = 22


class NotTls(Exception):
    """The peer does not speak TLS.

    Args:
        data: The first bytes that it sent.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__("the first bytes are not those of a handshake")
        self.data = data


class TlsSocket(socket.socket):
    """The server side of TLS over a connected socket. Not thread-safe; may be passed from one thread to another.

    Like those of any non-blocking socket, its methods raise BlockingIOError if they would have to wait: for a complete
    record, or for room to write. Other errors are other kinds of OSError, which include ``ssl.SSLError``.

    After BlockingIOError from a write, the caller must write the same bytes again, as with OpenSSL itself.

    Args:
        connected: Non-blocking; this socket takes ownership of its descriptor.
        context: Has the certificate and key.

    Attributes:
        has_more: Whether there is more to read that epoll does not report.
    """

    __slots__ = (
        "_encrypted", "_encrypted_of_bytes", "_incoming", "_is_tls", "_outgoing", "_ssl", "_write_closed", "has_more",
    )  # fmt: skip

    def __init__(self, connected: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(connected.family, connected.type, connected.proto, fileno=connected.detach())
        self.setblocking(False)  # noqa: FBT003  # its only argument
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # Encrypted bytes that the socket has not accepted yet.
        self._encrypted = memoryview(b"")
        # Size of the plaintext of those bytes, if its write raised BlockingIOError.
        self._encrypted_of_bytes = 0
        self._is_tls = self._write_closed = self.has_more = False

    @property
    def must_write(self) -> bool:
        """Whether encrypted bytes wait for the socket."""
        return bool(self._encrypted)

    def do_handshake(self) -> None:
        """Take the next step of the handshake, which is done once this raises nothing.

        Raises:
            NotTls: The peer speaks another protocol.
            ssl.SSLError: The handshake has failed; :meth:`take_encrypted` returns the alert for the peer.
            ConnectionError: The peer has disconnected.
        """
        self._push()
        data = super().recv(_FETCHED_BYTES)
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
        # A request may have arrived along with the end of the handshake.
        self.has_more = bool(self._incoming.pending)

    def take_encrypted(self) -> bytes:
        """Remove and return the encrypted bytes that were not written."""
        rest = bytes(self._encrypted) + self._outgoing.read()
        self._encrypted = memoryview(b"")
        return rest

    def plain(self) -> socket.socket:
        """The connection without TLS. Takes the descriptor away from this object."""
        connected = socket.socket(self.family, self.type, self.proto, fileno=self.detach())
        connected.setblocking(False)  # noqa: FBT003  # its only argument
        return connected

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read up to 64 KiB from the socket, whatever ``bufsize`` is, and decrypt all complete records.

        Returns:
            The plaintext; empty at the end of the stream.
        """
        if self._write_closed:
            # The caller drops the bytes, so they are not decrypted.
            return super().recv(bufsize, flags)
        if not self._fetch():
            return b""
        parts: list[bytes] = []
        try:
            while True:
                part = self._ssl.read(_RECORD_BYTES)
                if not part:
                    # close_notify of the peer. If this call has plaintext to return, the next call reports the end.
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
                self._answer()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:  # noqa: ARG002  # as a socket's
        """Like :meth:`recv`, directly into a buffer. Returns the number of bytes; 0 at the end of the stream."""
        room = memoryview(buffer)
        if self._write_closed:
            return super().recv_into(room)
        if not self._fetch():
            return 0
        filled = 0
        try:
            while filled < len(room):
                # Returns an int if it is given a buffer, which the type stub lacks.
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
                self._answer()
        return filled

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:  # noqa: ARG002  # as a socket's
        """Encrypt and write. Returns the bytes of ``data`` that were written; the rest was not encrypted."""
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
        """Like :meth:`send`, for several buffers in sequence."""
        self._push()
        # Also if nothing was left to push: a read writes what is unsent along with OpenSSL's own messages.
        written, self._encrypted_of_bytes = self._encrypted_of_bytes, 0
        if written:
            return written
        return self.send(_joined(buffers))

    def shutdown(self, how: int, /) -> None:
        """Send close_notify, and close the sending side (RFC 8446, section 6.1)."""
        self._write_closed = True
        self.has_more = False
        # unwrap() also expects close_notify of the peer, and raises if it has not arrived.
        with suppress(ssl.SSLError):
            self._ssl.unwrap()
        self._flush()
        super().shutdown(how)

    def _fetch(self) -> bool:
        """Read encrypted bytes if none are left. Returns False at the end of the stream."""
        if self.has_more:
            self.has_more = False
            return True
        data = super().recv(_FETCHED_BYTES)
        self._incoming.write(data)
        return bool(data)

    def _push(self) -> None:
        """Write all encrypted bytes. Raises BlockingIOError if the socket does not accept them."""
        while self._encrypted:
            self._encrypted = self._encrypted[super().send(self._encrypted) :]

    def _flush(self) -> None:
        """Write the records that OpenSSL sends by itself. What the socket does not accept precedes the next write."""
        with suppress(BlockingIOError):
            self._push()
            self._encrypted = memoryview(self._outgoing.read())
            self._push()

    def _answer(self) -> None:
        """Write the records with which OpenSSL answers what it reads.

        Raises:
            ConnectionAbortedError: The peer causes more and more of them, and does not read.
        """
        self._flush()
        unsent = self._outgoing.pending + (0 if self._encrypted_of_bytes else len(self._encrypted))
        if unsent > _MAX_UNSENT_BYTES:
            raise ConnectionAbortedError(f"the peer has not read {unsent} bytes of TLS control messages")


def _joined(buffers: Iterable[ReadableBuffer]) -> bytes:
    """The first bytes of the buffers, up to ``_ENCRYPTED_BYTES``, joined."""
    parts: list[memoryview] = []
    left = _ENCRYPTED_BYTES
    for buffer in buffers:
        part = memoryview(buffer)[:left]
        parts.append(part)
        left -= len(part)
        if not left:
            break
    return b"".join(parts)
