"""Proves that the installed grpcio does what completion_queue.py relies on. Touches no private API itself."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import grpc

from sardonyx_server.rpc.completion_queue import (
    AttachedQueue,
    Event,
    answer_operations,
    close_operations,
    message_operations,
    receive_operations,
    status_operations,
    wake_operations,
)

__all__ = ["self_check"]

_OK: Final = 0
_METHOD: Final = "/sardonyx.SelfCheck/Echo"
_STREAM: Final = "/sardonyx.SelfCheck/Echoes"
_STOCK: Final = "/sardonyx.SelfCheck/Stock"
_TIMEOUT_S: Final = 5.0


def self_check() -> str:
    """Prove that the installed grpcio does what this module relies on, by three calls over a loopback socket.

    Blocks for some milliseconds.

    Returns:
        "" where all is well, else what went wrong: then use the public API.
    """
    try:
        return _check()
    except Exception as error:  # noqa: BLE001  # private API: anything may be raised, and all of it means "do not use"
        return _described(error)


def _check() -> str:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    stock: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(lambda message, _context: message)
    service, _, name = _STOCK.strip("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: stock}),))
    echoes = _Echoes(server, AttachedQueue(server, (_METHOD, _STREAM)))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    echoes.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            problem = _call_all(channel)
    except grpc.RpcError as error:
        problem = _described(error)
    finally:
        # With grace: cancelling would make core log a GOAWAY to the terminal.
        server.stop(_TIMEOUT_S).wait(_TIMEOUT_S)
        echoes.stop()
    return echoes.problem or problem


def _call_all(channel: grpc.Channel) -> str:
    """Call each of the three methods; "" where the echoes are right."""
    message, messages = b"\x00sardonyx", (b"\x00one", b"", b"three")
    echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
    if echo(message, timeout=_TIMEOUT_S, metadata=(("check", "1"),)) != message:
        return "the echo differs"
    stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(_STREAM)
    if tuple(stream(iter(messages), timeout=_TIMEOUT_S)) != messages:
        return "the echoes of a stream differ"
    stock: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_STOCK)
    same = stock(message, timeout=_TIMEOUT_S) == message
    return "" if same else "a call that is grpcio's own is answered wrongly"


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class _Echoes:
    """The server's side of the self-check: answers one call and one stream, on a thread of its own, as the lane does.

    Attributes:
        problem: What was found to be wrong; "" as long as nothing was.
    """

    def __init__(self, server: grpc.Server, attached: AttachedQueue) -> None:
        self.problem = ""
        self._server = server
        self._attached = attached
        self._thread = threading.Thread(target=self._run, name="self-check", daemon=True)
        self._sent_one = False

    def start(self) -> None:
        """Requires: the server has been started."""
        self._attached.post(_METHOD, self._on_request)
        self._attached.post(_STREAM, self._on_stream)
        self._thread.start()

    def stop(self) -> None:
        """Requires: the server is stopped."""
        self._attached.shutdown()
        self._thread.join(_TIMEOUT_S)

    def _run(self) -> None:
        attached = self._attached
        try:
            while True:
                event = attached.poll(None)
                if event.tag is None:
                    if attached.ended(event):
                        return
                elif type(event.tag) in attached.foreign:
                    attached.relay(event)
                else:
                    event.tag(event)
        except Exception as error:  # noqa: BLE001  # as in self_check
            self.problem = _described(error)
            self._server.stop(0)
            attached.relay_rest()

    def _on_request(self, event: Event) -> None:
        if not event.success:
            return  # The server is stopping and hands back what was posted.
        left_s = event.call_details.deadline - time.time()
        if not 0 < left_s < _TIMEOUT_S + 1:
            self.problem = "the deadline of a call cannot be read"
        if ("check", "1") not in event.invocation_metadata:
            self.problem = "the metadata of a call cannot be read"
        event.call.start_server_batch(receive_operations(), partial(self._on_message, event.call))

    def _on_message(self, call: Any, event: Event) -> None:
        message = event.batch_operations[0].message()
        call.start_server_batch(answer_operations(message, learn_close=True), self._on_end)

    def _on_end(self, _event: Event) -> None:
        """Nothing is left to do."""

    def _on_stream(self, event: Event) -> None:
        if not event.success:
            return  # As above.
        event.call.start_server_batch(close_operations(), self._on_closed)
        event.call.start_server_batch(wake_operations(), partial(self._next, event.call))

    def _next(self, call: Any, _event: Event) -> None:
        call.start_server_batch(receive_operations(), partial(self._on_part, call))

    def _on_part(self, call: Any, event: Event) -> None:
        message = event.batch_operations[0].message()
        if message is None:
            call.start_server_batch(status_operations(_OK, "", None, first=not self._sent_one), self._on_end)
        else:
            call.start_server_batch(message_operations(message, first=not self._sent_one), partial(self._next, call))
            self._sent_one = True

    def _on_closed(self, event: Event) -> None:
        if event.batch_operations[0].cancelled():
            self.problem = "a stream that ended well counts as cancelled"
