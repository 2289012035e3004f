"""Assembles a message that arrives in several DATA frames. A message in one frame does not need this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sardonyx_server.errors import InvalidRequest, MessageTooLarge, QueueBytesFull

if TYPE_CHECKING:
    from sardonyx_server.engine.batching.byte_budget import ByteBudget

__all__ = ["PREFIX_BYTES", "MessageAssembly", "parse_prefix"]

PREFIX_BYTES: Final = 5
"""Size of the prefix of each message: a compressed flag of 1 byte and the length in 4 bytes (gRPC over HTTP/2)."""

_ALIGNMENT_BYTES: Final = 16
_RETRY_AFTER_S: Final = 0.1


def parse_prefix(prefix: bytes | memoryview, max_bytes: int, encoding: bytes) -> int:
    """Decode a message prefix. Returns the size of the message, in bytes.

    Args:
        prefix: Begins with the five bytes of the prefix.
        max_bytes: Size limit of a message.
        encoding: ``grpc-encoding`` of the caller; b"" = its messages must not be compressed.

    Raises:
        InvalidRequest: The message is compressed, but the request headers name no known ``grpc-encoding``.
        MessageTooLarge: The message exceeds the limit.
    """
    if prefix[0] > (1 if encoding else 0):
        text = f"the message begins with {prefix[0]}, so it is compressed, but grpc-encoding does not say how"
        raise InvalidRequest(text, reason="MALFORMED_MESSAGE")
    size = int.from_bytes(prefix[1:PREFIX_BYTES])
    if size > max_bytes:
        text = f"the message is larger than max_message_bytes: it has {size} bytes, {max_bytes} are accepted"
        raise MessageTooLarge(f"{text}; send less at a time, or have the server's limit raised")
    return size


class MessageAssembly:
    """Receives one message into memory of its own.

    Args:
        max_bytes: Size limit of a message.
        budget: Bounds the bytes of all messages that are incomplete.
        encoding: ``grpc-encoding`` of the caller; b"" = its messages must not be compressed.
    """

    __slots__ = ("_budget", "_encoding", "_filled", "_max_bytes", "_prefix", "_target", "size")

    def __init__(self, max_bytes: int, budget: ByteBudget, encoding: bytes) -> None:
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._budget = budget
        self._prefix = b""
        self._target: memoryview | None = None
        self._filled = 0
        self.size = -1
        """Size of the whole message, in bytes; -1 until its prefix has arrived."""

    @property
    def is_compressed(self) -> bool:
        """Whether the message is compressed. Requires: :attr:`size` is known."""
        return self._prefix[0] == 1

    @property
    def receive_buffer(self) -> memoryview | None:
        """Buffer for the next bytes, to be followed by :meth:`buffer_updated`; None = pass them to :meth:`feed`."""
        return None if self._target is None else self._target[self._filled :]

    def feed(self, piece: memoryview) -> memoryview | None:
        """Add the next bytes.

        Returns:
            The message, read-only, once it is complete; bytes after it are dropped. None = it is incomplete.

        Raises:
            InvalidRequest: The message is compressed, but the request headers name no known ``grpc-encoding``.
            MessageTooLarge: The message exceeds the limit, or there is not enough memory for it.
            QueueBytesFull: The byte budget of incomplete messages is used up.
        """
        if self.size < 0:
            missing = PREFIX_BYTES - len(self._prefix)
            self._prefix += bytes(piece[:missing])
            if len(self._prefix) < PREFIX_BYTES:
                return None
            piece = piece[missing:]
            self._begin(parse_prefix(self._prefix, self._max_bytes, self._encoding))
        buffer = self.receive_buffer
        if buffer is None:
            return None
        taken = min(len(buffer), len(piece))
        buffer[:taken] = piece[:taken]
        return self.buffer_updated(taken)

    def buffer_updated(self, size: int) -> memoryview | None:
        """The first ``size`` bytes of :attr:`receive_buffer` are filled. Returns the message once it is complete."""
        self._filled += size
        target = self._target
        if target is None or self._filled < self.size:
            return None
        self.release()
        return target.toreadonly()

    def release(self) -> None:
        """Give up the memory and its share of the budget: the message was dropped, or has a new owner."""
        if self._target is not None:
            self._target = None
            self._budget.release(self.size)

    def _begin(self, size: int) -> None:
        if not self._budget.try_reserve(size):
            raise QueueBytesFull(
                f"at most {self._budget.limit_bytes} bytes of unfinished messages may wait, "
                f"{self._budget.used_bytes} do and this one has {size}; retry later",
                retry_after_s=_RETRY_AFTER_S,
            )
        # np.empty does not fill the memory with zeros. A message ends with its last tensor. If the end is aligned, the
        # beginning of the tensor mostly is, too, and the tensor needs no copy to be aligned for kernels
        # (engine/running/execution.py).
        try:
            memory = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
        except MemoryError as error:
            self._budget.release(size)
            text = f"not enough memory for the message, which has {size} bytes; send less at a time, or later"
            raise MessageTooLarge(text, reason="OUT_OF_MEMORY") from error
        self.size = size
        start = -(memory.ctypes.data + size) % _ALIGNMENT_BYTES
        self._target = memory.data[start : start + size]
