"""ModelInfer on grpcio's public API: the lane's slow twin, for systems that the lane does not run on.

A thread of grpcio's pool blocks in each call until the engine answers. Streams are in public_stream.py. Both pass the
same contract suites as the lane.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_server.rpc.listening import cannot_listen
from sardonyx_server.rpc.public_call import PublicCall
from sardonyx_server.rpc.public_stream import MAX_STREAMS, PublicStreams
from sardonyx_server.text import host_and_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.intake import Intake
    from sardonyx_server.rpc.access_control import AccessControl
    from sardonyx_server.rpc.tls import Certificates, Pem

__all__ = ["PublicApi"]

# What core reads while it stops it cancels, which callers cannot tell from a cancellation of their own. So long a call
# that is on its way may take to be handed over: then it is answered, or hears that the server is stopping.
_ON_THE_WAY_S: Final = 0.02


class PublicApi:
    """Takes the calls of two methods from a grpcio server.

    Args:
        server: A grpcio server that has not been started.
        methods: Full names of the unary method, and of the one that takes a stream of the same requests.
        make_intake: Makes one intake for each thread that reads requests.
        access_control: Asked first in every call; None allows all.
        max_message_bytes: Largest message that is sent.
        max_streams: How many streams may be open at a time.
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
        self._streams = PublicStreams(
            method=stream_method,
            make_intake=make_intake,
            access_control=access_control,
            changed=self._changed,
            max_answer_bytes=max_message_bytes,
            max_streams=max_streams,
        )
        streams: Any = self._streams  # the stubs do not know behaviours that send by callback
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
            host: Name or address.
            port: 0 = any that is free.
            certificates: For TLS; None = none is spoken.

        Raises:
            CannotListen: It is taken or not ours.
        """
        address = host_and_port(host, port)
        try:
            if certificates is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, _credentials(certificates))
        except RuntimeError as error:
            raise cannot_listen(host, port) from error

    def start(self) -> None:
        """Nothing to do: the grpcio server takes the calls."""

    @property
    def open_calls(self) -> int:
        """Calls that were taken and are not over yet."""
        return self._open + self._streams.open

    @property
    def open_streams(self) -> int:
        """Those of them that are streams."""
        return self._streams.open

    def drain(self) -> None:
        """Refuse new streams, end those that are idle, and the others when what is in flight is answered."""
        self._streams.drain()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is open. Blocks; :meth:`hurry` ends it early.

        Returns:
            Whether that came about.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._hurried or not self.open_calls, timeout_s)
            return not self.open_calls

    def hurry(self) -> None:
        """End :meth:`wait_idle`."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def stop_server(self, grace_s: float | None) -> threading.Event:
        """Take no more calls; those under way have so long, then they are cancelled. Again: with less time.

        Returns:
            Set when that is over.
        """
        if grace_s:
            with self._changed:
                self._changed.wait_for(lambda: self._hurried, _ON_THE_WAY_S)
        return self._server.stop(grace_s)

    def stop(self, patience_s: float = 0.0) -> None:
        """Nothing to do."""

    def _infer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Take one call. Blocks a thread of the server's pool until the engine has answered."""
        with self._changed:
            self._open += 1
        try:
            return self._take(message, context)
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _take(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        call = PublicCall(context)
        intake: Intake | None = getattr(self._of_thread, "intake", None)
        if intake is None:
            intake = self._of_thread.intake = self._make_intake()
        if self._access_control is not None:
            try:
                self._access_control.check(self._method, call.metadata, call.peer())
            except Exception as error:  # noqa: BLE001  # the caller gets its status
                intake.refuse(error, call)
                return call.answer()
        intake.accept(message, call)
        intake.run_waiting()
        return call.answer()


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """What grpcio speaks TLS with. It asks at each handshake whether there is something new."""
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
        changed,  # type: ignore[arg-type]  # the stub does not know that it may say None, as grpcio's documentation has it
        require_client_authentication=certificates.asks_callers,
    )


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], root_certificates=pem.root)
