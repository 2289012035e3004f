"""Blocking calls over HTTP/2 or grpcio's channel: bytes in, bytes out, errors translated, slow calls hedged."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any

import grpc

from sardonyx_client._operations import PATHS
from sardonyx_client._transport.hedging import HedgingDelays

if TYPE_CHECKING:
    from sardonyx_client._channel_config import ChannelConfig
    from sardonyx_client._core import Core
    from sardonyx_client._errors import ClientError
    from sardonyx_client._http2.channel import Http2Channel
    from sardonyx_client._options import Hedge
    from sardonyx_client._timeout import Timeout

    Message = bytes | memoryview

__all__ = ["SyncTransport"]


class SyncTransport:
    """The transport of one client. Thread-safe.

    Args:
        core: The client's core.
        config: The server, and how to reach it.
        hedge: When to hedge inference calls; None = never.
    """

    def __init__(self, core: Core, config: ChannelConfig, hedge: Hedge | None) -> None:
        self._core = core
        self._delays = None if hedge is None else HedgingDelays(hedge)
        arguments = (config.options, config.compression)
        self._channel = (
            grpc.insecure_channel(config.target, *arguments)
            if config.credentials is None
            else grpc.secure_channel(config.target, config.credentials, *arguments)
        )
        # No serializers: Core encodes and decodes, so that its errors are not hidden behind a status of grpcio.
        self._calls: dict[str, Any] = {name: self._channel.unary_unary(path) for name, path in PATHS.items()}
        self._channel_infer = self._calls["ModelInfer"]
        self._http2_channel: Http2Channel | None = None
        if config.http2 is not None:
            from sardonyx_client._http2.channel import Http2Channel

            self._http2_channel = Http2Channel(config.http2, PATHS["ModelInfer"])

    def close(self) -> None:
        """Cancel calls in flight, and disconnect."""
        if self._http2_channel is not None and not self._core.forked:
            self._http2_channel.close()
        self._channel.close()

    def stream(self) -> Any:
        """The callable that opens an inference stream."""
        self._core.check_open()
        return self._channel.stream_stream(PATHS["ModelStreamInfer"])

    def send(self, rpc: str, message: bytes, limit: Timeout, *, connect: bool = False) -> bytes:
        """Make a call on grpcio's channel. ``connect``: wait for a connection instead of failing without one."""
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
        """Make an inference call, over HTTP/2 where possible."""
        core = self._core
        core.check_open()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        try:
            metadata = core.metadata()
            answer: Message | None = None
            if self._http2_channel is not None:
                answer = self._http2_channel.call(message, timeout_s, metadata)
            if answer is None:
                remaining_s = None if timeout_s is None else timeout_s - (time.perf_counter() - began_s)
                by_channel: Message = self._channel_infer(message, timeout=remaining_s, metadata=metadata)
                answer = by_channel
        except (grpc.RpcError, ValueError) as error:
            raise self._failure(error, "ModelInfer", model, message, began_s, timeout_s) from error
        if core.records:
            core.record("ModelInfer", model, None, time.perf_counter() - began_s, len(message), len(answer))
        return answer

    def _failure(
        self, error: Exception, rpc: str, model: str, message: bytes, began_s: float, timeout_s: float | None
    ) -> ClientError:
        """The client's error of a failed call; also reported to the hook."""
        core = self._core
        # ValueError: another thread closed the channel after check_open().
        if isinstance(error, ValueError) and not core.closed:
            raise error
        failure = core.failure(error, rpc, timeout_s)
        core.record(rpc, model, failure.code, time.perf_counter() - began_s, len(message), 0)
        return failure

    def infer(self, model: str, message: bytes, limit: Timeout) -> Message:
        """Make an inference call, hedged if the client hedges."""
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
                remaining_s = None if timeout_s is None else max(0.0, timeout_s - (time.perf_counter() - began_s))
                attempts.append(self.start(message, remaining_s))
                attempts[1].add_done_callback(ended.put)
                call = ended.get()
            if len(attempts) > 1 and call.code() is not grpc.StatusCode.OK:
                call = ended.get()
            answer = self.wait(call, model, message, began_s, timeout_s)
        finally:
            for attempt in attempts:
                attempt.cancel()
        delays.record(model, time.perf_counter() - began_s)
        return answer

    def start(self, message: bytes, timeout_s: float | None) -> Any:
        """Start an inference call without blocking. :meth:`wait` returns its response."""
        core = self._core
        core.check_open()
        try:
            return self._calls["ModelInfer"].future(message, timeout=timeout_s, metadata=core.metadata())
        except ValueError as error:
            if not core.closed:
                raise
            raise core.failure(error, "ModelInfer", timeout_s) from error

    def wait(self, call: Any, model: str, message: bytes, began_s: float, timeout_s: float | None) -> bytes:
        """Wait for a call that :meth:`start` started at ``began_s`` on ``time.perf_counter``."""
        core = self._core
        try:
            answer: bytes = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            failure = core.failure(error, "ModelInfer", timeout_s)
            core.record("ModelInfer", model, failure.code, time.perf_counter() - began_s, len(message), 0)
            raise failure from error
        core.record("ModelInfer", model, None, time.perf_counter() - began_s, len(message), len(answer))
        return answer
