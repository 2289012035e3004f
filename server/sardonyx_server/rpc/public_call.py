"""One call on grpcio's public API: a ModelInfer, or that on which a ModelStreamInfer runs."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.other_rpcs.forwarded import peer_of
from sardonyx_server.rpc.status import abort

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["PublicCall"]

# Some grpcio say None where there is no deadline, others the end of core's clock, some 292 billion years on.
_NO_DEADLINE_S: Final = 1e12


class PublicCall:
    """One call on grpcio's public API. See :class:`~sardonyx_server.engine.call.Call`."""

    __slots__ = ("_answer", "_answered", "_context", "cancelled", "deadline_s")

    streamed = False

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._answered = threading.Event()
        self._answer: bytes | Exception = b""
        self.cancelled = False
        remaining_s: float | None = context.time_remaining()  # the stub forgets None
        if remaining_s is None or remaining_s > _NO_DEADLINE_S:
            remaining_s = math.inf
        self.deadline_s = time.monotonic() + remaining_s

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the call."""
        return tuple((key, value) for key, value in self._context.invocation_metadata())

    def peer(self) -> str:
        """Address of the caller."""
        return peer_of(self.metadata, self._context.peer())

    def watch(self) -> None:
        """Keep :attr:`cancelled` up to date from now on."""
        if not self._context.add_callback(self._on_ended):
            self.cancelled = True

    def reply(self, message: EncodedMessage) -> None:
        """Answer. Any thread; never blocks."""
        self._answer = bytes(message)
        self._answered.set()

    def fail(self, error: Exception) -> None:
        """Answer with the status of an error. Any thread; never blocks."""
        self._answer = error
        self._answered.set()

    def answer(self) -> bytes:
        """Wait for the answer. Blocks; bounded by the engine, which answers every call that it accepted."""
        self._answered.wait()
        if isinstance(self._answer, bytes):
            return self._answer
        return abort(self._context, self._answer)

    def _on_ended(self) -> None:
        self.cancelled = not self._answered.is_set()
