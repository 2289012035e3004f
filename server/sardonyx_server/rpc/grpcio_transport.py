"""ModelInfer on grpcio's public API: the slower transport, for systems on which the lane does not run.

In each call a thread of grpcio's pool blocks until the engine answers. Streams are in grpcio_stream.py. Both modules
pass the same contract test suites as the lane.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_server.rpc.grpcio_call import GrpcioCall
from sardonyx_server.rpc.grpcio_stream import MAX_STREAMS, GrpcioStreams
from sardonyx_server.rpc.listening import cannot_listen
from sardonyx_server.text import host_and_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.intake import Intake
    from sardonyx_server.rpc.access_control import AccessControl
    from sardonyx_server.rpc.tls import Certificates, Pem

__all__ = ["GrpcioTransport"]

# While it stops, gRPC's core cancels every call that it reads; callers cannot tell this from a cancellation of their
# own. A call that is on its way has this long to reach us: then it is answered, or refused because the server stops.
_ON_THE_WAY_S: Final = 0.02


class GrpcioTransport:
    """Serves the two inference methods on a grpcio server.

    Args:
        server: A grpcio server that has not been started.
        methods: Full names of the unary method, and of the one that streams the same requests.
        make_intake: Makes one intake for each thread that reads requests.
        access_control: Checked first in every call; None allows every call.
        max_message_bytes: Size of the largest message that is sent.
        max_streams: Maximum number of open streams.
    """

    name = "grpcio"
    thread = None
    lag = None

    def __init__(
        self,
        server: grpc.Server,
        *,
        methods: tuple[str, str],
        make_intake: Callable[[], Intake],
        access_control: AccessControl | None,
        max_message_bytes: int,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        self._server = server
        self._method, stream_method = methods
        self._make_intake = make_intake
        self._access_control = access_control
        self._of_thread = threading.local()
        self._open = 0
        self._hurried = False
        self._changed = threading.Condition()
        self._streams = GrpcioStreams(
            method=stream_method,
            make_intake=make_intake,
            access_control=access_control,
            changed=self._changed,
            max_answer_bytes=max_message_bytes,
            max_streams=max_streams,
        )
        streams: Any = self._streams  # the type stubs lack behaviours that send by callback
        handlers: tuple[tuple[str, grpc.RpcMethodHandler[bytes, bytes]], ...] = (
            (self._method, grpc.unary_unary_rpc_method_handler(self._infer)),
            (stream_method, grpc.stream_stream_rpc_method_handler(streams)),
        )
        for path, handler in handlers:
            _, service, name = path.split("/")
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))

    def listen(self, host: str, port: int, certificates: Certificates | None = None) -> int:
        """Bind the address. Returns the port.

        Args:
            host: Host name or IP address.
            port: Port number; 0 takes any free port.
            certificates: Certificates for TLS; None serves without TLS.

        Raises:
            CannotListen: The port is in use, or the address is not this machine's.
        """
        address = host_and_port(host, port)
        try:
            if certificates is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, _credentials(certificates))
        except RuntimeError as error:
            raise cannot_listen(host, port) from error

    def start(self) -> None:
        """Does nothing: the grpcio server accepts the calls."""

    @property
    def open_calls(self) -> int:
        """Number of open calls, streams included."""
        return self._open + self._streams.open

    @property
    def open_streams(self) -> int:
        """Number of open streams."""
        return self._streams.open

    def drain(self) -> None:
        """Refuse new streams, end idle ones now, and the others once their requests in flight are answered."""
        self._streams.drain()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is open. Blocks; :meth:`hurry` ends it early.

        Returns:
            True if no call is open; False after the timeout or :meth:`hurry` if some still are.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._hurried or not self.open_calls, timeout_s)
            return not self.open_calls

    def hurry(self) -> None:
        """End :meth:`wait_idle` early."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def stop_server(self, grace_s: float | None) -> threading.Event:
        """Accept no more calls; those in progress are cancelled after ``grace_s``. A second call may shorten the time.

        Returns:
            An event that is set when the server has stopped.
        """
        if grace_s:
            with self._changed:
                self._changed.wait_for(lambda: self._hurried, _ON_THE_WAY_S)
        return self._server.stop(grace_s)

    def stop(self, patience_s: float = 0.0) -> None:
        """Does nothing."""

    def _infer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Serve one call. Blocks a thread of the server's pool until the engine has answered."""
        with self._changed:
            self._open += 1
        try:
            return self._take(message, context)
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _take(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        call = GrpcioCall(context)
        intake: Intake | None = getattr(self._of_thread, "intake", None)
        if intake is None:
            intake = self._of_thread.intake = self._make_intake()
        if self._access_control is not None:
            try:
                self._access_control.check(self._method, call.metadata, call.peer())
            except Exception as error:  # noqa: BLE001  # the caller gets the status of the error
                intake.refuse(error, call)
                return call.answer()
        intake.accept(message, call)
        intake.run_waiting()
        return call.answer()


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """TLS credentials for grpcio, which asks at each handshake whether the certificates have changed."""
    given = certificates.pem()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        pem = certificates.pem()
        if pem is given:
            return None
        given = pem
        return _configuration(pem)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        changed,  # type: ignore[arg-type]  # grpcio documents that it may return None; the stub does not
        require_client_authentication=certificates.asks_callers,
    )


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], root_certificates=pem.root)
