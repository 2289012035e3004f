"""One call on grpcio's public API: of ModelInfer or of ModelStreamInfer."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.other_rpcs.peer import peer_of
from sardonyx_server.rpc.status import abort

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["GrpcioCall"]

# Without a deadline some versions of grpcio return None, others the end of core's clock, about 292 billion years on.
_NO_DEADLINE_S: Final = 1e12


class GrpcioCall:
    """One call on grpcio's public API. See :class:`~sardonyx_server.engine.call.Call`."""

    __slots__ = ("_answer", "_answered", "_context", "cancelled", "deadline_s")

    streamed = False

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._answered = threading.Event()
        self._answer: bytes | Exception = b""
        self.cancelled = False
        remaining_s: float | None = context.time_remaining()  # the type stub lacks None
        if remaining_s is None or remaining_s > _NO_DEADLINE_S:
            remaining_s = math.inf
        self.deadline_s = time.monotonic() + remaining_s

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the call, as (key, value) pairs."""
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
        """Wait for the answer. Blocks; the wait is bounded, since the engine answers every call that it accepted."""
        self._answered.wait()
        if isinstance(self._answer, bytes):
            return self._answer
        return abort(self._context, self._answer)

    def _on_ended(self) -> None:
        self.cancelled = not self._answered.is_set()
