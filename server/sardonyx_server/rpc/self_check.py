"""Proves at the start that the lane works here: with this system, and with the installed grpcio behind it."""

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
    """Prove it by three calls of grpcio's own client over a loopback socket: of the lane's methods and of another.

    Blocks for some milliseconds.

    Returns:
        "" where all is well, else what went wrong: then use the public API.
    """
    if not hasattr(select, "epoll") or not hasattr(os, "eventfd"):
        return "this system has no epoll and eventfd, which are Linux's"
    try:
        return _check()
    except Exception as error:  # noqa: BLE001  # anything may be raised, and all of it means "do not use"
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
        # With grace: what is cancelled makes core log to the terminal.
        lane.stop_server(_TIMEOUT_S).wait(_TIMEOUT_S)
        lane.stop()
    return _described(lost[0]) if lost else problem


def _call_all(channel: grpc.Channel) -> str:
    """Call each of the three methods; "" where the echoes are right."""
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
    """An intake that answers at once. See :class:`~sardonyx_server.engine.intake.Intake`."""

    def accept(self, message: bytes | memoryview, call: Call, _received_s: float | None = None) -> None:
        """Answer with the same."""
        call.reply(bytes(message))

    def reserve(self, _beginning: memoryview, _call: Call, _message_bytes: int) -> None:
        """It refuses nothing."""

    def refuse(self, error: Exception, call: Rejectable) -> None:
        """Say why not."""
        call.fail(error)

    def notify_pending(self, model: Model, /) -> None:
        """There are no models."""

    def wake_early(self) -> None:
        """Nothing waits."""

    def wake(self) -> None:
        """Likewise."""

    def run_waiting(self) -> None:
        """Likewise."""
