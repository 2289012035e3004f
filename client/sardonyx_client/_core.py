"""What both clients do around a call, without I/O: arguments to bytes, bytes to results, metadata, errors, records."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from sardonyx_client._errors import ClientClosed, ClientError, translate
from sardonyx_client._inference import InferenceCodec
from sardonyx_client._timeout import check_default_timeout, resolve_timeout_s
from sardonyx_client._tracing import span, trace_metadata
from sardonyx_client._values import CallRecord, Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    import grpc

    from sardonyx_client._request import Request
    from sardonyx_client._shm_pool.call_regions import CallRegions
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import Result

__all__ = ["Core", "Encoded"]

_LOG = logging.getLogger("sardonyx_client")
_CLOSED: Final = "the client is closed: make a new one"
_FORKED: Final = (
    "the client was made before this process was forked, and connections do not survive a fork: make a client in this "
    "process"
)


class Encoded(NamedTuple):
    """An inference request, ready to send.

    Attributes:
        message: Serialised request.
        encode_s: Time it took to serialise.
    """

    message: bytes
    encode_s: float


class Core:
    """State that all calls of a client share. Thread-safe.

    Args:
        address: For error messages.
        timeout_s: Default timeout; None = no limit.
        metadata: Sent with every call.
        token: Sent as ``authorization: Bearer TOKEN``; a function is called for each call.
        on_call: Called with each finished call, on the thread that made it; what it raises is logged and dropped.

    Raises:
        InvalidArgument: The timeout is invalid.
    """

    def __init__(
        self,
        *,
        address: str,
        timeout_s: float | None,
        metadata: Mapping[str, str | bytes],
        token: str | Callable[[], str] | None,
        on_call: Callable[[CallRecord], None] | None,
    ) -> None:
        check_default_timeout(timeout_s)
        self.address = address
        self.closed = False
        self._timeout_s = timeout_s
        self._metadata = tuple(metadata.items())
        self._token = token
        self._on_call = on_call
        self._codec = InferenceCodec()
        self._process = os.getpid()

    def shown_as(self, name: str) -> str:
        """``repr`` of a client, such as ``<Client of 127.0.0.1:8001, closed>``."""
        return f"<{name} of {self.address}{', closed' if self.closed else ''}>"

    def encode(self, request: Request, call_regions: CallRegions | None = None) -> Encoded:
        """Request -> message. With ``call_regions``, large inputs go to shared memory.

        Raises:
            InvalidArgument: A value cannot be encoded.
        """
        began_s = time.perf_counter()
        return Encoded(self._codec.encode(request, call_regions), time.perf_counter() - began_s)

    def decode(
        self,
        answer: bytes | memoryview,
        *,
        encode_s: float = 0.0,
        call_s: float = 0.0,
        call_regions: CallRegions | None = None,
    ) -> Result:
        """Message of a response -> result.

        Raises:
            BadResponse: The response violates the protocol.
        """
        return self._codec.decode(answer, Timings(encode_s, call_s), call_regions)

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Metadata of the next call."""
        metadata = self._metadata
        if self._token is not None:
            token = self._token if isinstance(self._token, str) else self._token()
            metadata = (*metadata, ("authorization", f"Bearer {token}"))
        trace = trace_metadata()
        if not trace:
            return metadata
        # Trace metadata that the caller has set explicitly takes precedence.
        said = {key for key, _ in metadata}
        return (*metadata, *((key, value) for key, value in trace.items() if key not in said))

    def span(self, rpc: str, model: str = "") -> AbstractContextManager[None]:
        """A span around one call."""
        return span(rpc, model, self.address)

    def timeout_s(self, timeout: Timeout) -> float | None:
        """Resolve a call's ``timeout_s`` argument to seconds; None = no limit."""
        return resolve_timeout_s(timeout, self._timeout_s)

    def check_open(self) -> None:
        """Raise if no call can be made.

        Raises:
            ClientClosed: The client was closed, or belongs to another process.
        """
        if self.closed:
            raise ClientClosed(_CLOSED)
        if self.forked:
            raise ClientClosed(_FORKED)

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that created the client, to which the connections belong."""
        return os.getpid() != self._process

    def failure(self, error: BaseException, rpc: str, timeout_s: float | None) -> ClientError:
        """The client's error for ``error``, which the transport raised."""
        if self.closed:
            return ClientClosed(f"{rpc} on {self.address}: the client was closed while the call was under way")
        return translate(error, call=f"{rpc} on {self.address}", timeout_s=timeout_s)

    @property
    def records(self) -> bool:
        """Whether there is a hook for :meth:`record`."""
        return self._on_call is not None

    def record(
        self,
        rpc: str,
        model: str,
        code: grpc.StatusCode | None,
        seconds: float,
        request_bytes: int,
        response_bytes: int,
    ) -> None:
        """Report a finished call to the hook; ``code`` None = OK."""
        if self._on_call is None:
            return
        try:
            self._on_call(
                CallRecord(
                    rpc=rpc,
                    model=model,
                    code="OK" if code is None else code.name,
                    seconds=seconds,
                    request_bytes=request_bytes,
                    response_bytes=response_bytes,
                )
            )
        except Exception:  # noqa: BLE001  # a failing hook must not fail the call
            _LOG.exception("the on_call hook of a client raised")
