"""Blocking calls on the lane or on a channel: bytes to bytes, errors translated, slow calls hedged. Knows no arrays."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any

import grpc

from sardonyx_client._operations import PATHS
from sardonyx_client._sending.hedging import Delays

if TYPE_CHECKING:
    from sardonyx_client._connection import Connection
    from sardonyx_client._core import Core
    from sardonyx_client._errors import ClientError
    from sardonyx_client._lane.blocking import BlockingLane
    from sardonyx_client._options import Hedge
    from sardonyx_client._timeout import Timeout

    Message = bytes | memoryview

__all__ = ["Sender"]


class Sender:
    """Sends for one client. Thread-safe.

    Args:
        core: Of the client.
        connection: Where to, and how.
        hedge: When inference calls are made twice; None = never.
    """

    def __init__(self, core: Core, connection: Connection, hedge: Hedge | None) -> None:
        self._core = core
        self._delays = None if hedge is None else Delays(hedge)
        arguments = (connection.options, connection.compression)
        self._channel = (
            grpc.insecure_channel(connection.target, *arguments)
            if connection.credentials is None
            else grpc.secure_channel(connection.target, connection.credentials, *arguments)
        )
        # No serializers: the core makes and reads the bytes, so its errors are not hidden behind a status of grpc's.
        self._calls: dict[str, Any] = {name: self._channel.unary_unary(path) for name, path in PATHS.items()}
        self._channel_infer = self._calls["ModelInfer"]
        self._lane: BlockingLane | None = None
        if connection.lane is not None:
            from sardonyx_client._lane.blocking import BlockingLane

            self._lane = BlockingLane(connection.lane, PATHS["ModelInfer"])

    def close(self) -> None:
        """Cancel what is under way, and disconnect."""
        if self._lane is not None and not self._core.forked:
            self._lane.close()
        self._channel.close()

    def stream(self) -> Any:
        """What opens a stream of inference."""
        self._core.check_open()
        return self._channel.stream_stream(PATHS["ModelStreamInfer"])

    def send(self, rpc: str, message: bytes, limit: Timeout, *, connect: bool = False) -> bytes:
        """One call on the channel, to its end. ``connect``: wait for a connection instead of failing without."""
        core = self._core
        core.check_open()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        try:
            answer: bytes = self._calls[rpc](
                message, timeout=timeout_s, metadata=core.metadata(), wait_for_ready=connect or None
            )
        except (grpc.RpcError, ValueError) as error:
            raise self._failure(error, rpc, "", message, began_s, timeout_s) from error
        core.record(rpc, "", None, time.perf_counter() - began_s, len(message), len(answer))
        return answer

    def _infer_once(self, model: str, message: bytes, limit: Timeout) -> Message:
        """One inference call to its end, by the lane where that can be."""
        core = self._core
        core.check_open()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        try:
            metadata = core.metadata()
            answer: Message | None = None
            if self._lane is not None:
                answer = self._lane.call(message, timeout_s, metadata)
            if answer is None:
                left_s = None if timeout_s is None else timeout_s - (time.perf_counter() - began_s)
                by_channel: Message = self._channel_infer(message, timeout=left_s, metadata=metadata)
                answer = by_channel
        except (grpc.RpcError, ValueError) as error:
            raise self._failure(error, "ModelInfer", model, message, began_s, timeout_s) from error
        if core.records:
            core.record("ModelInfer", model, None, time.perf_counter() - began_s, len(message), len(answer))
        return answer

    def _failure(
        self, error: Exception, rpc: str, model: str, message: bytes, began_s: float, timeout_s: float | None
    ) -> ClientError:
        """What a failed call means to the caller; the hook is told."""
        core = self._core
        # ValueError: another thread closed the channel between the look at the flag and the call.
        if isinstance(error, ValueError) and not core.closed:
            raise error
        failure = core.failure(error, rpc, timeout_s)
        core.record(rpc, model, failure.code, time.perf_counter() - began_s, len(message), 0)
        return failure

    def infer(self, model: str, message: bytes, limit: Timeout) -> Message:
        """One inference call to its end, hedged where that was asked for."""
        delays = self._delays
        if delays is None:
            return self._infer_once(model, message, limit)
        core = self._core
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        attempts = [self.start(message, timeout_s)]
        attempts[0].add_done_callback(ended.put)
        try:
            try:
                call = ended.get(timeout=delays.delay_s(model))
            except queue.Empty:
                left_s = None if timeout_s is None else max(0.0, timeout_s - (time.perf_counter() - began_s))
                attempts.append(self.start(message, left_s))
                attempts[1].add_done_callback(ended.put)
                call = ended.get()
            if len(attempts) > 1 and call.code() is not grpc.StatusCode.OK:
                call = ended.get()
            answer = self.answer(call, model, message, began_s, timeout_s)
        finally:
            for attempt in attempts:
                attempt.cancel()
        delays.learn(model, time.perf_counter() - began_s)
        return answer

    def start(self, message: bytes, timeout_s: float | None) -> Any:
        """Begin an inference call; does not block. :meth:`answer` ends it."""
        core = self._core
        core.check_open()
        try:
            return self._calls["ModelInfer"].future(message, timeout=timeout_s, metadata=core.metadata())
        except ValueError as error:
            if not core.closed:
                raise
            raise core.failure(error, "ModelInfer", timeout_s) from error

    def answer(self, call: Any, model: str, message: bytes, began_s: float, timeout_s: float | None) -> bytes:
        """Wait for an inference call that :meth:`start` began at ``began_s`` on ``time.perf_counter``."""
        core = self._core
        try:
            answer: bytes = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            failure = core.failure(error, "ModelInfer", timeout_s)
            core.record("ModelInfer", model, failure.code, time.perf_counter() - began_s, len(message), 0)
            raise failure from error
        core.record("ModelInfer", model, None, time.perf_counter() - began_s, len(message), len(answer))
        return answer
