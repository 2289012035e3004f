"""The synchronous front of the client: what a person calls. _infer_calls.py does inference, _operations.py all else."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeVar, overload

from sardonyx_client._options import Retry, Share
from sardonyx_client._request import request_of
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
        share: Pass large tensors through shared memory where the server is on this machine and allows it; None = never.
        on_call: Told of every finished call, on the thread that made it.
        transport: ``auto`` = inference goes by the lane, a faster way of our own to one server that is not encrypted,
            and by grpcio where the lane does not fit; ``grpcio`` = all goes by grpcio.

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
        share: Share | None = Share(),  # noqa: B008 -- likewise
        on_call: Callable[[CallRecord], None] | None = None,
        transport: Transport = "auto",
    ) -> None:
        # Here, not above: they bring numpy, protobuf's reflection and a dozen classes of values, and a program that may
        # never call a server should not wait for them.
        from sardonyx_client import _operations
        from sardonyx_client._connection import Connection
        from sardonyx_client._core import Core
        from sardonyx_client._infer_calls import InferCalls
        from sardonyx_client._sending.sender import Sender
        from sardonyx_client._sharing.rules import sharing_of
        from sardonyx_client._sharing.sharer import Sharer

        def connect(retry: Retry | None) -> Connection:
            return Connection.to(
                address,
                retry=retry,
                tls=tls,
                compression=compression,
                max_message_bytes=max_message_bytes,
                keepalive_s=keepalive_s,
                transport=transport,
            )

        connection = connect(retry)
        self._operations = _operations
        self._core = Core(
            address=connection.target, timeout_s=timeout_s, metadata=metadata, token=token, on_call=on_call
        )
        self._sender = Sender(self._core, connection, hedge)
        sharing = sharing_of(share, self._core, connection.target, retry=retry, hedge=hedge)
        sharer = None
        if sharing is not None:
            sharer = Sharer(sharing, lambda: Sender(self._core, connect(retry=None), hedge=None))
        self._calls = InferCalls(self._core, self._sender, sharer, coalesce)
        self._closed = threading.Event()

    def __repr__(self) -> str:
        """Where it goes and whether it is closed; nothing secret."""
        return self._core.shown_as("Client")

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
        self._calls.close()
        self._closed.set()
        self._sender.close()

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
        request = request_of(model, inputs, named_inputs, version, outputs, request_id, parameters)
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
        asked = (request_of(model, inputs, {}, version, outputs, "", parameters) for inputs in requests)
        return self._calls.many(model, asked, window, timeout_s)

    def stream(self, *, timeout_s: Timeout = None) -> Stream:
        """Open a stream: requests go in, results come out in their order, on one call.

        Args:
            timeout_s: For the whole stream.
        """
        from sardonyx_client._streams.stream import Stream

        return Stream(self._core, self._sender.stream(), self._core.timeout_s(timeout_s))

    def model(self, name: str, version: str | int = "") -> Model:
        """A handle of one model, which checks arguments against its signature before anything is sent."""
        from sardonyx_client._model import Model

        return Model(self, name, version)

    @property
    def timeout_s(self) -> float | None:
        """Of calls that name none, in seconds; None = no limit."""
        return self._core.timeout_s(CLIENT_DEFAULT)

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
        return self._readiness.live(timeout_s)

    def ready(self, model: str | None = None, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> bool:
        """Whether the server, or one model, is ready for inference. No connection is "no".

        Raises:
            NotFound: The server does not know the model or the version.
            ClientError: Any other failure.
        """
        return self._readiness.ready(model, version, timeout_s)

    def wait_until_ready(self, timeout_s: float = 60.0, *, model: str | None = None, version: str | int = "") -> None:
        """Block until the server, and one model where it is named, is ready. Connects as soon as there is a server.

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
        """The configuration in force of a model, completed by the server."""
        return self._run(self._operations.config(model, str(version)), timeout_s)

    def statistics(
        self, model: str = "", version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> tuple[ModelStatistics, ...]:
        """What each version of a model, or of all models, has done since it was loaded."""
        return self._run(self._operations.statistics(model, str(version)), timeout_s)

    @property
    def _readiness(self) -> Readiness:
        from sardonyx_client._readiness import Readiness

        return Readiness(self._run, self._core.address, self._closed)

    def _run(self, operation: Operation[T], timeout_s: Timeout, *, connect: bool = False) -> T:
        with self._core.span(operation.rpc):
            return operation.decode(self._sender.send(operation.rpc, operation.message, timeout_s, connect=connect))
