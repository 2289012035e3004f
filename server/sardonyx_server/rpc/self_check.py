"""Checks at the start that the lane works: on this system, and with the installed version of grpcio behind it."""

from __future__ import annotations

import os
import select
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_server.rpc.lane.lane import Lane
from sardonyx_server.rpc.lane.limits import Limits

if TYPE_CHECKING:
    from sardonyx_server.engine.call import Call, Rejectable
    from sardonyx_server.engine.running.model import Model

__all__ = ["self_check"]

_METHOD: Final = "/sardonyx.SelfCheck/Echo"
_STREAM: Final = "/sardonyx.SelfCheck/Echoes"
_STOCK: Final = "/sardonyx.SelfCheck/Stock"
_TIMEOUT_S: Final = 5.0
_LIMITS: Final = Limits(max_message_bytes=1024, unfinished_bytes=1024, min_ping_interval_s=0.0)


def self_check() -> str:
    """Make three calls with grpcio's client over a loopback socket: to the lane's two methods and to a grpcio method.

    Blocks for some milliseconds.

    Returns:
        "" if the lane works, else the problem; then grpcio's public API must serve.
    """
    if not hasattr(select, "epoll") or not hasattr(os, "eventfd"):
        return "this system has no epoll and eventfd, which are Linux's"
    try:
        return _check()
    except Exception as error:  # noqa: BLE001  # any exception means that the lane must not be used
        return _described(error)


def _check() -> str:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    stock: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(lambda message, _context: message)
    service, _, name = _STOCK.strip("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: stock}),))
    lost: list[Exception] = []
    lane = Lane(
        server, methods=(_METHOD, _STREAM), intake=_Echoes(), access_control=None, limits=_LIMITS, on_lost=lost.append
    )
    port = lane.listen("127.0.0.1", 0)
    server.start()
    lane.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            problem = _call_all(channel)
    except grpc.RpcError as error:
        problem = _described(error)
    finally:
        # With a grace period, since core logs to the terminal when it cancels calls.
        lane.stop_server(_TIMEOUT_S).wait(_TIMEOUT_S)
        lane.stop()
    return _described(lost[0]) if lost else problem


def _call_all(channel: grpc.Channel) -> str:
    """Call each of the three methods; "" if every answer is right, else the problem."""
    message, messages = b"\x00sardonyx", (b"\x00one", b"", b"three")
    echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
    if echo(message, timeout=_TIMEOUT_S) != message:
        return "the echo differs"
    stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(_STREAM)
    if len(tuple(stream(iter(messages), timeout=_TIMEOUT_S))) != len(messages):
        return "a stream has not as many answers as requests"
    stock: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_STOCK)
    same = stock(message, timeout=_TIMEOUT_S) == message
    return "" if same else "a call that is grpcio's own is answered wrongly"


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class _Echoes:
    """An intake that echoes each request at once. See :class:`~sardonyx_server.engine.intake.Intake`."""

    def accept(self, message: bytes | memoryview, call: Call, _received_s: float | None = None) -> None:
        """Answer with the request itself."""
        call.reply(bytes(message))

    def reserve(self, _beginning: memoryview, _call: Call, _message_bytes: int) -> None:
        """Does nothing: no request is refused."""

    def refuse(self, error: Exception, call: Rejectable) -> None:
        """Fail the call with the error."""
        call.fail(error)

    def notify_pending(self, model: Model, /) -> None:
        """Does nothing: there are no models."""

    def wake_early(self) -> None:
        """Does nothing: no request waits."""

    def wake(self) -> None:
        """Does nothing: no request waits."""

    def run_waiting(self) -> None:
        """Does nothing: no request waits."""
