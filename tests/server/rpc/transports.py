"""Each transport around an intake that hands its calls to the test: what lies between a socket and a Call."""

from __future__ import annotations

import queue
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_server.rpc.grpcio_transport import GrpcioTransport
from sardonyx_server.rpc.lane.lane import Lane
from sardonyx_server.rpc.lane.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.engine.call import Call
    from sardonyx_server.rpc.tls import Certificates

__all__ = [
    "HASTE_S",
    "METHOD",
    "STREAM_METHOD",
    "TRANSPORTS",
    "Calls",
    "Transport",
    "channel_to",
    "is_listening",
    "opened",
    "stopped_codes",
    "until",
]

METHOD: Final = "/test.Service/Infer"
STREAM_METHOD: Final = "/test.Service/StreamInfer"
TRANSPORTS: Final = ("lane", "grpcio")
# Far more than any test takes, on a busy machine too: only a bug makes a wait last as long.
BOUND_S: Final = 60.0
# Deadlines that pass soon. On a busy machine one may pass before its call has come: then the next is tried.
HASTE_S: Final = (0.05, 0.5, 5.0)
# On the public API each open call holds a thread.
THREADS: Final = 64
_CHANNEL_OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


def is_listening(address: str) -> bool:
    """Whether connections are accepted there."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=BOUND_S).close()
    except ConnectionError:
        return False
    return True


def until(holds: Callable[[], bool]) -> None:
    """Wait, with a bound, for what no event tells of."""
    end_s = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def stopped_codes(name: str) -> set[grpc.StatusCode]:
    """How a call may end that a stop leaves without an answer, on the transport of that name."""
    # Core cancels what it has read from the socket and not handed over, and what has no answer when the grace is over.
    codes = {grpc.StatusCode.UNAVAILABLE}
    return codes if name == "lane" else codes | {grpc.StatusCode.CANCELLED}


class Calls:
    """The intake of the tests: every call that comes waits here until a test takes it.

    Args:
        react: Called with each request on the transport's own thread, instead.

    Attributes:
        refused: Errors of the calls that the transport did not take.
        foresees: Asked of each message of which only the beginning has come, with its size: why it is refused.
        on_their_way: How many that were not refused have not come yet, or will not.
    """

    def __init__(self, react: Callable[[bytes, Call], None] | None = None) -> None:
        self.refused: list[Exception] = []
        self.foresees: Callable[[bytes, int], Exception | None] = lambda _beginning, _size: None
        self.on_their_way = 0
        self._react = react
        self._arrived: queue.SimpleQueue[tuple[bytes, Call]] = queue.SimpleQueue()

    def accept(self, message: bytes, call: Call, received_s: float | None = None) -> None:
        """See ``engine.intake.Intake``."""
        if self._react is not None:
            self._react(message, call)
        else:
            self._arrived.put((message, call))

    def wake_early(self) -> None:
        """See ``engine.intake.Intake``."""

    def reserve(self, beginning: memoryview, call: Call, message_bytes: int) -> Callable[[], None] | None:
        """See ``engine.intake.Intake``."""
        error = self.foresees(bytes(beginning), message_bytes)
        if error is not None:
            call.fail(error)
            return None
        self.on_their_way += 1
        return self._settled

    def refuse(self, error: Exception, call: Call) -> None:
        """See ``engine.intake.Intake``."""
        self.refused.append(error)
        call.fail(error)

    def wake(self) -> None:
        """See ``engine.intake.Intake``."""

    def run_waiting(self) -> None:
        """See ``engine.intake.Intake``."""

    def take(self) -> tuple[bytes, Call]:
        """The next call; waits for it."""
        return self._arrived.get(timeout=BOUND_S)

    def take_all(self) -> list[tuple[bytes, Call]]:
        """Those that have come; waits for none. Requires: no other thread takes any."""
        return [self._arrived.get() for _ in range(self._arrived.qsize())]

    def _settled(self) -> None:
        self.on_their_way -= 1

    def none_has_come(self) -> bool:
        """Whether no call waits for the test."""
        return self._arrived.empty()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """A transport that serves on a loopback socket."""

    name: str
    address: str
    serving: Any
    channel: Any  # a grpc.Channel, whose stubs want serializers
    calls: Calls
    lost: list[Exception]

    def send(self, message: bytes = b"ask", **more: Any) -> Any:
        """Start a call; a future with the bytes of its answer."""
        more.setdefault("timeout", BOUND_S)
        return self.channel.unary_unary(METHOD).future(message, **more)

    def send_in_haste(self) -> tuple[Any, Call]:
        """A call that has come and whose caller gives up soon: (its future, the call)."""
        for timeout_s in HASTE_S:
            message = b"%g" % timeout_s
            sent = self.send(message, timeout=timeout_s)
            until(lambda sent=sent: sent.done() or not self.calls.none_has_come())  # type: ignore[misc]  # binds the loop
            for came, call in self.calls.take_all():
                if came == message:
                    return sent, call
                call.reply(b"too late")
        raise AssertionError("each deadline passed before its call had come")

    def answer_late(self) -> None:
        """Answer what has come, and what comes still, until no call is open."""

        def none_is_open() -> bool:
            for _, call in self.calls.take_all():
                call.reply(b"too late")
            return not self.serving.open_calls

        until(none_is_open)


def channel_to(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    """A connection of its own; plain where there are no credentials."""
    if credentials is None:
        return grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
    return grpc.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)


@contextmanager
def opened(
    name: str,
    *,
    react: Callable[[bytes, Call], None] | None = None,
    access_control: Any = None,
    options: tuple[tuple[str, Any], ...] = (),
    handlers: tuple[grpc.GenericRpcHandler, ...] = (),
    certificates: Certificates | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    min_ping_interval_s: float = 0.0,
    **more: Any,
) -> Iterator[Transport]:
    """Start a transport by its name; stops it at the end, when every call must have been answered.

    ``handlers`` are of methods beside the two of the transport, ``certificates`` and ``credentials`` are for TLS of
    either side, ``more`` is for the transport itself.
    """
    calls: Any = Calls(react)
    lost: list[Exception] = []
    server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
    server.add_generic_rpc_handlers(handlers)
    serving: Lane | GrpcioTransport
    limit = dict(options).get("grpc.max_receive_message_length", -1)
    max_message_bytes = 1 << 30 if limit < 0 else limit
    if name == "lane":
        serving = Lane(
            server,
            methods=(METHOD, STREAM_METHOD),
            intake=calls,
            access_control=access_control,
            limits=Limits(
                max_message_bytes=max_message_bytes,
                unfinished_bytes=32 << 20,
                min_ping_interval_s=min_ping_interval_s,
            ),
            on_lost=lost.append,
            **more,
        )
    else:
        serving = GrpcioTransport(
            server,
            methods=(METHOD, STREAM_METHOD),
            make_intake=lambda: calls,
            access_control=access_control,
            max_message_bytes=max_message_bytes,
            **more,
        )
    port = serving.listen("127.0.0.1", 0, certificates)
    server.start()
    serving.start()
    try:
        address = f"127.0.0.1:{port}"
        with channel_to(address, credentials) as channel:
            yield Transport(name=name, address=address, serving=serving, channel=channel, calls=calls, lost=lost)
        until(lambda: not serving.open_calls)
    finally:
        assert serving.stop_server(None).wait(BOUND_S)
        serving.stop()
    assert not lost
