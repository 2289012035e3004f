"""The synchronous client. _infer_calls.py makes inference calls, _operations.py describes all others."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeVar, overload

from sardonyx_client._options import Retry, Share
from sardonyx_client._request import build_request
from sardonyx_client._timeout import CLIENT_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._model import Model
    from sardonyx_client._operations import Operation
    from sardonyx_client._options import TLS, Coalesce, Compression, Hedge, Transport
    from sardonyx_client._readiness import Readiness
    from sardonyx_client._repository import Repository
    from sardonyx_client._shared_memory import SharedMemory
    from sardonyx_client._streams.stream import Stream
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import CallRecord, ModelInfo, ModelStatistics, ParameterValue, Result, ServerInfo
    from sardonyx_wire.messages import ModelConfig

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A client of one server, or of several replicas. Connects on first use, and reconnects when a connection is lost.

    Thread-safe. It does not survive a fork: calls in the child process raise ClientClosed.

    Args:
        address: ``host:port`` or any other gRPC target such as ``unix:/run/sardonyx.sock``; or several ``host:port``.
            Calls are balanced round-robin over them, and over all addresses of a name; a server that reports that it is
            stopping gets no new calls.
        timeout_s: Default timeout of a call, all attempts included; None = no limit.
        metadata: Sent with every call. Keys in lower case.
        tls: TLS; None = no encryption.
        token: Sent as ``authorization: Bearer TOKEN``; a function is called for each call.
        compression: Compression of requests.
        retry: Retry policy; None = never retry.
        max_message_bytes: Largest message of requests and responses; None = no limit on this side.
        keepalive_s: Time without traffic after which the connection is probed; None = never.
        hedge: Make a second attempt of slow inference calls; None = never.
        coalesce: Merge concurrent calls of one model into one request; None = never.
        share: Transfer large tensors through shared memory if the server is on this host and allows it; None = never.
        on_call: Called with each finished call, on the thread that made it.
        transport: ``auto`` = inference uses the client's own HTTP/2 transport, which is faster, where the address is
            a single server without TLS, and grpcio otherwise; ``grpcio`` = everything uses grpcio.

    Raises:
        InvalidArgument: An argument is invalid.
    """

    def __init__(  # noqa: PLR0913  # the options of a client
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
        share: Share | None = Share(),  # noqa: B008 -- likewise
        on_call: Callable[[CallRecord], None] | None = None,
        transport: Transport = "auto",
    ) -> None:
        # Imported here because they import numpy, protobuf's reflection and a dozen dataclasses, for which a program
        # that may never call a server should not have to wait.
        from sardonyx_client import _operations
        from sardonyx_client._channel_config import ChannelConfig
        from sardonyx_client._core import Core
        from sardonyx_client._infer_calls import InferCalls
        from sardonyx_client._shm_transfer.protocol import make_shm_protocol
        from sardonyx_client._shm_transfer.transfer import ShmTransfer
        from sardonyx_client._transport.sync_transport import SyncTransport

        def channel_config(retry: Retry | None) -> ChannelConfig:
            return ChannelConfig.from_options(
                address,
                retry=retry,
                tls=tls,
                compression=compression,
                max_message_bytes=max_message_bytes,
                keepalive_s=keepalive_s,
                transport=transport,
            )

        config = channel_config(retry)
        self._operations = _operations
        self._core = Core(address=config.target, timeout_s=timeout_s, metadata=metadata, token=token, on_call=on_call)
        self._transport = SyncTransport(self._core, config, hedge)
        shm_protocol = make_shm_protocol(share, self._core, config.target, retry=retry, hedge=hedge)
        shm_transfer = None
        if shm_protocol is not None:
            shm_transfer = ShmTransfer(
                shm_protocol, lambda: SyncTransport(self._core, channel_config(retry=None), hedge=None)
            )
        self._calls = InferCalls(self._core, self._transport, shm_transfer, coalesce)
        self._closed = threading.Event()

    def __repr__(self) -> str:
        """The address, and whether it is closed; no secrets."""
        return self._core.shown_as("Client")

    def __enter__(self) -> Self:
        """Does nothing: the client connects on first use."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Cancel calls in flight, and disconnect. Any thread may call it, repeatedly."""
        self._core.closed = True
        self._calls.close()
        self._closed.set()
        self._transport.close()

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
            inputs: Input name -> array, for names that are not Python identifiers or that collide with an argument
                here. Arrays keep their dtype; Python numbers become FP32, INT64 or BOOL; text and ``bytes`` become
                BYTES; ``bfloat16`` of ml_dtypes becomes BF16.
            version: Version to run; "" = the newest that is ready.
            outputs: Names of the outputs to return, in this order; None = all.
            request_id: Returned in the result.
            parameters: Request parameters, such as ``{"priority": 1}``.
            timeout_s: Timeout of this call.
            **named_inputs: More inputs, by name.

        Returns:
            The outputs, as a mapping from name to array.

        Raises:
            ClientError: One of its subclasses.
        """
        request = build_request(model, inputs, named_inputs, version, outputs, request_id, parameters)
        return self._calls.infer(request, timeout_s)

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
        """Run a model on many requests, with several in flight at once, so that the server can batch them.

        Args:
            model: Its name.
            requests: Inputs of each request; consumed as responses arrive.
            window: Most requests in flight.
            version: As in :meth:`infer`.
            outputs: As in :meth:`infer`.
            parameters: As in :meth:`infer`.
            timeout_s: Timeout of each request.

        Yields:
            Results in the order of the requests. The first error ends it, and cancels the requests after it.
        """
        asked = (build_request(model, inputs, {}, version, outputs, "", parameters) for inputs in requests)
        return self._calls.infer_many(model, asked, window, timeout_s)

    def stream(self, *, timeout_s: Timeout = None) -> Stream:
        """Open a stream: one call that carries many requests and their results, in order.

        Args:
            timeout_s: Timeout of the whole stream.
        """
        from sardonyx_client._streams.stream import Stream

        return Stream(self._core, self._transport.stream(), self._core.timeout_s(timeout_s))

    def model(self, name: str, version: str | int = "") -> Model:
        """A handle of one model, which checks arguments against the signature before sending."""
        from sardonyx_client._model import Model

        return Model(self, name, version)

    @property
    def timeout_s(self) -> float | None:
        """Default timeout of a call in seconds; None = no limit."""
        return self._core.timeout_s(CLIENT_DEFAULT)

    @property
    def repository(self) -> Repository:
        """Loads and unloads models."""
        from sardonyx_client._repository import Repository

        return Repository(self._run)

    @property
    def shared_memory(self) -> SharedMemory:
        """Registers regions of system shared memory with the server."""
        from sardonyx_client._shared_memory import SharedMemory

        return SharedMemory(self._run)

    def live(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> bool:
        """Whether the server is live. False if there is no connection; a timeout raises DeadlineExceeded."""
        return self._readiness.live(timeout_s)

    def ready(self, model: str | None = None, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> bool:
        """Whether the server, or one model, is ready for inference. False if there is no connection.

        Raises:
            NotFound: The server does not know the model or the version.
            ClientError: Any other failure.
        """
        return self._readiness.ready(model, version, timeout_s)

    def wait_until_ready(self, timeout_s: float = 60.0, *, model: str | None = None, version: str | int = "") -> None:
        """Block until the server, and the model if one is named, is ready. The server need not have started yet.

        Raises:
            DeadlineExceeded: It is not ready after ``timeout_s``.
            NotFound: The server is ready and does not know the model or the version.
            ClientError: Any other failure.
        """
        self._readiness.wait(model, version, timeout_s)

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
        """The effective configuration of a model, with the server's defaults filled in."""
        return self._run(self._operations.config(model, str(version)), timeout_s)

    def statistics(
        self, model: str = "", version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> tuple[ModelStatistics, ...]:
        """Statistics of each version of a model, or of all models, since it was loaded."""
        return self._run(self._operations.statistics(model, str(version)), timeout_s)

    @property
    def _readiness(self) -> Readiness:
        from sardonyx_client._readiness import Readiness

        return Readiness(self._run, self._core.address, self._closed)

    def _run(self, operation: Operation[T], timeout_s: Timeout, *, connect: bool = False) -> T:
        with self._core.span(operation.rpc):
            return operation.decode(self._transport.send(operation.rpc, operation.message, timeout_s, connect=connect))
