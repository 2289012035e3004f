"""The synchronous front of the client: a channel and blocking calls. What goes over the wire is made in _core.py."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

import grpc

from sardonyx_client._errors import ClientError, DeadlineExceeded, Unavailable
from sardonyx_client._options import (
    Retry,
    channel_credentials,
    channel_options,
    compression_of,
    target_of,
)
from sardonyx_client._timeout import CLIENT_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._coalesce import Request
    from sardonyx_client._coalescer import Coalescer
    from sardonyx_client._core import Encoded
    from sardonyx_client._hedging import Delays
    from sardonyx_client._model import Model
    from sardonyx_client._operations import Operation
    from sardonyx_client._options import TLS, Coalesce, Compression, Hedge
    from sardonyx_client._repository import Repository
    from sardonyx_client._shared_memory import SharedMemory
    from sardonyx_client._stream import Stream
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import CallRecord, ModelInfo, ModelStatistics, ParameterValue, Result, ServerInfo
    from sardonyx_wire.messages import ModelConfig

__all__ = ["Client"]

T = TypeVar("T")

# Pauses between two looks at a server that answers "not ready", in seconds: double from the first to the last.
_FIRST_PAUSE_S: Final = 0.02
_LAST_PAUSE_S: Final = 0.5


class Client:
    """A connection to one server, or to several that serve the same. Connects when first used, and again after a loss.

    Any number of threads may share it. It does not survive a fork: calls in the child raise ClientClosed.

    Args:
        address: ``host:port`` or any other gRPC target such as ``unix:/run/sardonyx.sock``; or several ``host:port``.
            Calls go round them, and round all addresses of a name; a server that says it is stopping gets no more.
        timeout_s: For every call that names none, all attempts included; None = no limit.
        metadata: Sent with every call. Keys in lower case.
        tls: Encryption; None = none.
        token: Sent as ``authorization: Bearer TOKEN``; a function is asked for each call.
        compression: Of messages to the server.
        retry: When calls are tried again; None = never.
        max_message_bytes: Of requests and answers; None = no limit on this side.
        keepalive_s: Time without traffic after which the connection is tried; None = never.
        hedge: Make a second attempt at slow inference calls; None = never.
        coalesce: Join concurrent calls for one model into one request; None = never.
        on_call: Told of every finished call, on the thread that made it.

    Raises:
        InvalidArgument: An argument is wrong.
    """

    def __init__(  # noqa: PLR0913  # what a person may want to say of a connection
        self,
        address: str | Sequence[str] = "127.0.0.1:8001",
        *,
        timeout_s: float | None = 60.0,
        metadata: Mapping[str, str | bytes] = MappingProxyType({}),
        tls: TLS | None = None,
        token: str | Callable[[], str] | None = None,
        compression: Compression | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 -- immutable
        max_message_bytes: int | None = None,
        keepalive_s: float | None = None,
        hedge: Hedge | None = None,
        coalesce: Coalesce | None = None,
        on_call: Callable[[CallRecord], None] | None = None,
    ) -> None:
        # Here, not above: protobuf's reflection takes a fifth of the time that grpc and numpy take to import, and a
        # program that may never call a server should not wait for it.
        from sardonyx_client import _operations
        from sardonyx_client._core import Core

        target = target_of(address)
        self._operations = _operations
        self._core = Core(address=target, timeout_s=timeout_s, metadata=metadata, token=token, on_call=on_call)
        self._delays: Delays | None = None
        if hedge is not None:
            from sardonyx_client._hedging import Delays

            self._delays = Delays(hedge)
        self._coalesce = coalesce
        self._coalescer: Coalescer | None = None
        if coalesce is not None:
            from sardonyx_client._coalescer import Coalescer

            self._coalescer = Coalescer(coalesce, self._infer_joined)
        self._closed = threading.Event()
        options = channel_options(
            several=not isinstance(address, str) and len(address) > 1,
            retry=retry,
            tls=tls,
            max_message_bytes=max_message_bytes,
            keepalive_s=keepalive_s,
        )
        credentials = channel_credentials(tls)
        self._channel = (
            grpc.insecure_channel(target, options, compression_of(compression))
            if credentials is None
            else grpc.secure_channel(target, credentials, options, compression_of(compression))
        )
        # No serializers: the core makes and reads the bytes, so its errors are not hidden behind a status of grpc's.
        self._calls: dict[str, Any] = {
            name: self._channel.unary_unary(path) for name, path in _operations.PATHS.items()
        }

    def __enter__(self) -> Self:
        """Nothing happens: the connection is made when it is first used."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Cancel calls that are under way, and disconnect. From any thread; can be repeated."""
        self._core.closed = True
        self._closed.set()
        self._channel.close()

    def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike] | None = None,
        /,
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        request_id: str = "",
        parameters: Mapping[str, ParameterValue] | None = None,
        timeout_s: Timeout = CLIENT_DEFAULT,
        **named_inputs: ArrayLike,
    ) -> Result:
        """Run a model once.

        Args:
            model: Its name.
            inputs: Input name -> array, for names that are no Python identifiers or collide with an argument here.
                Arrays keep their dtype; Python numbers become FP32, INT64 or BOOL; text and ``bytes`` become BYTES;
                ``bfloat16`` of ml_dtypes becomes BF16.
            version: Version to run; "" = the newest that is ready.
            outputs: Names of those wanted, in this order; None = all.
            request_id: Sent back in the result.
            parameters: Of the request, such as ``{"priority": 1}``.
            timeout_s: For this call.
            **named_inputs: More inputs, by name.

        Returns:
            The outputs, as a mapping from name to array.

        Raises:
            ClientError: One of its subclasses, by who can act.
        """
        if self._coalescer is not None:
            asks = self._core.joinable(
                self._coalesce,
                model,
                inputs,
                named_inputs,
                version=version,
                outputs=outputs,
                request_id=request_id,
                parameters=parameters,
            )
            if asks is not None:
                return self._coalescer.infer(asks, self._core.timeout_s(timeout_s))
        encoded = self._core.encode(
            model,
            inputs,
            named_inputs,
            version=version,
            outputs=outputs,
            request_id=request_id,
            parameters=parameters,
        )
        began_s = time.perf_counter()
        try:
            answer = self._send_inference(model, encoded.message, timeout_s)
        except ClientError as error:
            error.request_id = request_id
            raise
        return self._core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

    def infer_many(
        self,
        model: str,
        requests: Iterable[Mapping[str, ArrayLike]],
        /,
        *,
        window: int = 16,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        timeout_s: Timeout = CLIENT_DEFAULT,
    ) -> Iterator[Result]:
        """Run a model on one request after another, several under way at once; the server can batch them.

        Args:
            model: Its name.
            requests: The inputs of each, taken as room is.
            window: Most requests under way.
            version: As in :meth:`infer`.
            outputs: As in :meth:`infer`.
            parameters: As in :meth:`infer`.
            timeout_s: For each request.

        Yields:
            Results in the order of the requests. The first that fails raises and ends it; those behind are cancelled.
        """
        waiting: deque[tuple[Encoded, Any, float, float | None]] = deque()
        seconds = self._core.timeout_s(timeout_s)
        try:
            for inputs in requests:
                encoded = self._core.encode(
                    model, inputs, {}, version=version, outputs=outputs, request_id="", parameters=parameters
                )
                waiting.append((encoded, self._start(encoded.message, seconds), time.perf_counter(), seconds))
                if len(waiting) >= window:
                    yield self._finish(*waiting.popleft())
            while waiting:
                yield self._finish(*waiting.popleft())
        finally:
            for _, call, _, _ in waiting:
                call.cancel()

    def stream(self, *, timeout_s: Timeout = None) -> Stream:
        """Open a stream: requests go in, results come out in their order, on one call.

        Args:
            timeout_s: For the whole stream.
        """
        from sardonyx_client._stream import Stream

        self._core.check_open()
        path = self._operations.PATHS["ModelStreamInfer"]
        return Stream(self._core, self._channel.stream_stream(path), self._core.timeout_s(timeout_s))

    def model(self, name: str, version: str | int = "") -> Model:
        """A handle of one model, which checks arguments against its signature before anything is sent."""
        from sardonyx_client._model import Model

        return Model(self, name, version)

    @property
    def repository(self) -> Repository:
        """Loads and unloads models."""
        from sardonyx_client._repository import Repository

        return Repository(self._run)

    @property
    def shared_memory(self) -> SharedMemory:
        """Regions of system shared memory that the server knows."""
        from sardonyx_client._shared_memory import SharedMemory

        return SharedMemory(self._run)

    def live(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> bool:
        """Whether the server answers at all. No connection is "no"; a time-out raises DeadlineExceeded."""
        try:
            return self._run(self._operations.live(), timeout_s)
        except Unavailable:
            return False

    def ready(self, model: str | None = None, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> bool:
        """Whether the server, or one model, is ready for inference. No connection is "no".

        Raises:
            NotFound: The server does not know the model or the version.
            ClientError: Any other failure.
        """
        try:
            return self._run(self._readiness(model, version), timeout_s)
        except Unavailable:
            return False

    def wait_until_ready(self, timeout_s: float = 60.0, *, model: str | None = None, version: str | int = "") -> None:
        """Block until the server, and one model where it is named, is ready. Connects as soon as there is a server.

        Raises:
            DeadlineExceeded: It is not ready after ``timeout_s``.
            NotFound: The server is ready and does not know the model or the version.
            ClientError: Any other failure.
        """
        deadline = time.monotonic() + timeout_s
        for subject in (None,) if model is None else (None, model):
            pause_s = _FIRST_PAUSE_S
            while not self._ready_by(deadline, subject, version):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    what = "the server" if subject is None else f"model {subject!r}"
                    raise DeadlineExceeded(f"{what} at {self._core.address} is not ready after {timeout_s:g} s")
                self._closed.wait(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    @overload
    def metadata(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> ServerInfo: ...
    @overload
    def metadata(self, model: str, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> ModelInfo: ...
    def metadata(
        self, model: str | None = None, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> ServerInfo | ModelInfo:
        """Name, version and extensions of the server; or the signature of a model."""
        if model is None:
            return self._run(self._operations.server_metadata(), timeout_s)
        return self._run(self._operations.model_metadata(model, str(version)), timeout_s)

    def config(self, model: str, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> ModelConfig:
        """The configuration in force of a model, completed by the server."""
        return self._run(self._operations.config(model, str(version)), timeout_s)

    def statistics(
        self, model: str = "", version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> tuple[ModelStatistics, ...]:
        """What each version of a model, or of all models, has done since it was loaded."""
        return self._run(self._operations.statistics(model, str(version)), timeout_s)

    def _infer_joined(self, request: Request, inputs: Mapping[str, ArrayLike], timeout_s: float | None) -> Result:
        """Send one request of several callers."""
        encoded = self._core.encode(
            request.model,
            inputs,
            {},
            version=request.version,
            outputs=request.outputs,
            request_id="",
            parameters=request.parameters,
        )
        began_s = time.perf_counter()
        answer = self._send_inference(request.model, encoded.message, timeout_s)
        return self._core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

    def _readiness(self, model: str | None, version: str | int) -> Operation[bool]:
        if model is None:
            return self._operations.server_ready()
        return self._operations.model_ready(model, str(version))

    def _ready_by(self, deadline: float, model: str | None, version: str | int) -> bool:
        """One look. False where there is no answer: the caller knows whether time is left for another."""
        left_s = max(0.0, deadline - time.monotonic())
        try:
            return self._run(self._readiness(model, version), left_s, connect=True)
        except (DeadlineExceeded, Unavailable):
            return False

    def _run(self, operation: Operation[T], timeout_s: Timeout, *, connect: bool = False) -> T:
        return operation.decode(self._send(operation.rpc, operation.message, timeout_s, connect=connect))

    def _send(self, rpc: str, message: bytes, limit: Timeout, *, model: str = "", connect: bool = False) -> bytes:
        """One call, to its end. ``connect``: wait for a connection instead of failing without."""
        core = self._core
        core.check_open()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        try:
            answer: bytes = self._calls[rpc](
                message, timeout=timeout_s, metadata=core.metadata(), wait_for_ready=connect or None
            )
        except (grpc.RpcError, ValueError) as error:
            # ValueError: another thread closed the channel between the look at the flag and the call.
            if isinstance(error, ValueError) and not core.closed:
                raise
            failure = core.failure(error, rpc, timeout_s)
            core.record(rpc, model, failure.code, time.perf_counter() - began_s, len(message), 0)
            raise failure from error
        if core.records:
            core.record(rpc, model, None, time.perf_counter() - began_s, len(message), len(answer))
        return answer

    def _send_inference(self, model: str, message: bytes, limit: Timeout) -> bytes:
        """One inference call, hedged where that was asked for."""
        delays = self._delays
        if delays is None:
            return self._send("ModelInfer", message, limit, model=model)
        core = self._core
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        attempts = [self._start(message, timeout_s)]
        attempts[0].add_done_callback(ended.put)
        try:
            try:
                call = ended.get(timeout=delays.delay_s(model))
            except queue.Empty:
                left_s = None if timeout_s is None else max(0.0, timeout_s - (time.perf_counter() - began_s))
                attempts.append(self._start(message, left_s))
                attempts[1].add_done_callback(ended.put)
                call = ended.get()
            if len(attempts) > 1 and call.code() is not grpc.StatusCode.OK:
                call = ended.get()
            answer = self._answer_of(call, model, message, began_s, timeout_s)
        finally:
            for attempt in attempts:
                attempt.cancel()
        delays.learn(model, time.perf_counter() - began_s)
        return answer

    def _start(self, message: bytes, timeout_s: float | None) -> Any:
        """Begin an inference call; does not block."""
        core = self._core
        core.check_open()
        try:
            return self._calls["ModelInfer"].future(message, timeout=timeout_s, metadata=core.metadata())
        except ValueError as error:
            if not core.closed:
                raise
            raise core.failure(error, "ModelInfer", timeout_s) from error

    def _finish(self, encoded: Encoded, call: Any, began_s: float, timeout_s: float | None) -> Result:
        """Wait for a call that was begun."""
        answer = self._answer_of(call, encoded.model, encoded.message, began_s, timeout_s)
        return self._core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

    def _answer_of(self, call: Any, model: str, message: bytes, began_s: float, timeout_s: float | None) -> bytes:
        core = self._core
        try:
            answer: bytes = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            failure = core.failure(error, "ModelInfer", timeout_s)
            core.record("ModelInfer", model, failure.code, time.perf_counter() - began_s, len(message), 0)
            raise failure from error
        core.record("ModelInfer", model, None, time.perf_counter() - began_s, len(message), len(answer))
        return answer
