"""The synchronous front of the client: a channel, deadlines, metadata. What goes over the wire is made in _codec.py."""

from __future__ import annotations

import math
import threading
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, overload

import grpc

from sardonyx_client._errors import ClientError, DeadlineExceeded, InvalidArgument, Unavailable, translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._values import ModelInfo, ParameterValue, Result, ServerInfo
    from sardonyx_wire.messages import ModelConfig

__all__ = ["Client"]

# Tensors are larger than grpc's 4 MiB: the server's limits decide. And a server that has just been started is found
# within a tenth of a second instead of one.
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)
# Pauses between two looks at a server that answers "not ready", in seconds: double from the first to the last.
_FIRST_PAUSE_S: Final = 0.02
_LAST_PAUSE_S: Final = 0.5
_CLOSED: Final = "the client is closed: make a new one"


class Client:
    """A connection to one server. Connects when first used, and again after a loss. Any number of threads may share it.

    Args:
        address: ``host:port``, or any other gRPC target such as ``unix:/run/sardonyx.sock``.
        timeout_s: For every call that names none; ``math.inf`` means no limit.
        metadata: Sent with every call, such as ``{"authorization": "Bearer ..."}``. Keys in lower case.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8001",
        *,
        timeout_s: float = 60.0,
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        # Here, not above: protobuf's reflection takes a fifth of the time that grpc and numpy take to import, and a
        # program that may never call a server should not wait for it.
        from sardonyx_client import _codec

        self._codec = _codec
        self._address = address
        self._timeout_s = timeout_s
        self._metadata = tuple(metadata.items())
        self._closed = threading.Event()
        self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        # No serializers: the core makes and reads the bytes, so its errors are not hidden behind a status of grpc's.
        self._calls: dict[str, Any] = {name: self._channel.unary_unary(path) for name, path in _codec.PATHS.items()}

    def __enter__(self) -> Self:
        """Nothing happens: the connection is made when it is first used."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Cancel calls that are under way, and disconnect. Can be repeated."""
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
        timeout_s: float | None = None,
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
            timeout_s: For this call; None = the client's.
            **named_inputs: More inputs, by name.

        Returns:
            The outputs, as a mapping from name to array.

        Raises:
            ClientError: One of its subclasses, by who can act.
        """
        given: dict[str, ArrayLike] = dict(inputs or {})
        repeated = given.keys() & named_inputs.keys()
        if repeated:
            raise InvalidArgument(f"input {min(repeated)!r} is given twice: in the mapping and by name")
        given.update(named_inputs)
        message = self._codec.encode_infer(
            model,
            given.items(),
            version=str(version),
            outputs=outputs or (),
            request_id=request_id,
            parameters=parameters or {},
        )
        return self._codec.decode_infer(self._call("ModelInfer", message, timeout_s))

    def live(self, *, timeout_s: float | None = None) -> bool:
        """Whether the server answers at all. No connection is "no"; a time-out raises DeadlineExceeded."""
        try:
            return self._codec.decode_live(self._call("ServerLive", b"", timeout_s))
        except Unavailable:
            return False

    def ready(self, model: str | None = None, version: str | int = "", *, timeout_s: float | None = None) -> bool:
        """Whether the server, or one model, is ready for inference. No connection is "no".

        Raises:
            NotFound: The server does not know the model or the version.
            ClientError: Any other failure.
        """
        try:
            return self._ready(model, str(version), timeout_s)
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
            while not self._ready_by(deadline, subject, str(version)):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    what = "the server" if subject is None else f"model {subject!r}"
                    raise DeadlineExceeded(f"{what} at {self._address} is not ready after {timeout_s:g} s")
                self._closed.wait(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    @overload
    def metadata(self, *, timeout_s: float | None = None) -> ServerInfo: ...
    @overload
    def metadata(self, model: str, version: str | int = "", *, timeout_s: float | None = None) -> ModelInfo: ...
    def metadata(
        self, model: str | None = None, version: str | int = "", *, timeout_s: float | None = None
    ) -> ServerInfo | ModelInfo:
        """Name, version and extensions of the server; or the signature of a model."""
        if model is None:
            return self._codec.decode_server_metadata(self._call("ServerMetadata", b"", timeout_s))
        request = self._codec.encode_model_metadata(model, str(version))
        return self._codec.decode_model_metadata(self._call("ModelMetadata", request, timeout_s))

    def config(self, model: str, version: str | int = "", *, timeout_s: float | None = None) -> ModelConfig:
        """The configuration in force of a model, completed by the server."""
        request = self._codec.encode_config(model, str(version))
        return self._codec.decode_config(self._call("ModelConfig", request, timeout_s))

    def _ready(self, model: str | None, version: str, timeout_s: float | None, *, connect: bool = False) -> bool:
        if model is None:
            return self._codec.decode_server_ready(self._call("ServerReady", b"", timeout_s, connect=connect))
        request = self._codec.encode_model_ready(model, version)
        return self._codec.decode_model_ready(self._call("ModelReady", request, timeout_s, connect=connect))

    def _ready_by(self, deadline: float, model: str | None, version: str) -> bool:
        """One look. False where there is no answer: the caller knows whether time is left for another."""
        try:
            return self._ready(model, version, max(0.0, deadline - time.monotonic()), connect=True)
        except (DeadlineExceeded, Unavailable):
            return False

    def _call(self, name: str, message: bytes, timeout_s: float | None, *, connect: bool = False) -> bytes:
        """The one place where the network is used. ``connect``: wait for a connection instead of failing without."""
        if self._closed.is_set():
            raise ClientError(_CLOSED)
        if timeout_s is None:
            timeout_s = self._timeout_s
        try:
            answer: bytes = self._calls[name](
                message,
                timeout=None if timeout_s == math.inf else timeout_s,
                metadata=self._metadata,
                wait_for_ready=connect,
            )
        except grpc.RpcError as error:
            raise translate(error, call=f"{name} on {self._address}", timeout_s=timeout_s) from error
        except ValueError as error:
            # Another thread closed the channel between the look at the flag and the call.
            if self._closed.is_set():
                raise ClientError(_CLOSED) from error
            raise
        return answer
