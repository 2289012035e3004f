"""The lane as a transport: what the server calls, from start to stop. The work of its thread is in loop/.

The lane serves two methods. All others are proxied to the grpcio server, which listens on a socket of its own.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sardonyx_server.rpc.lane.loop.event_loop import EventLoop
from sardonyx_server.rpc.lane.proxy.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from sardonyx_server.engine.running.lane_thread import LaneThread
    from sardonyx_server.engine.statistics import Histogram
    from sardonyx_server.rpc.access_control import AccessControl
    from sardonyx_server.rpc.lane.limits import Limits
    from sardonyx_server.rpc.lane.loop.dispatch_queue import RequestIntake
    from sardonyx_server.rpc.lane.messages.compression import Level
    from sardonyx_server.rpc.tls import Certificates

__all__ = ["Lane"]


class Lane:
    """Serves two methods from its own sockets, and hands their requests to an intake.

    Args:
        server: A grpcio server that has not been started; serves all other methods.
        methods: Full names of the unary method, and of the one that takes a stream of the same requests.
        intake: Receives the requests; called on the lane's thread only.
        access_control: Checks every call first; None allows all.
        cores: Number of cores that this process may use.
        compression: Compression level of responses, for clients that accept compression.
        limits: Limits on what clients may do.
        on_lost: Called on the lane's thread if its loop itself fails, which is a bug.

    Attributes:
        thread: The lane's thread, as the engine sees it.
    """

    name = "lane"

    def __init__(
        self,
        server: grpc.Server,
        *,
        methods: tuple[str, str],
        intake: RequestIntake,
        access_control: AccessControl | None,
        cores: int = 1,
        compression: Level = "none",
        limits: Limits,
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._server = server
        self._upstream = Upstream()
        self._loop = EventLoop(
            methods=methods,
            requests=intake,
            access_control=access_control,
            cores=cores,
            compression=compression,
            limits=limits,
            upstream=self._upstream,
        )
        self.thread: LaneThread = self._loop
        self._thread = threading.Thread(target=self._loop.run, args=(on_lost,), name="lane", daemon=True)

    @property
    def open_calls(self) -> int:
        """Number of calls that have begun and not ended."""
        return self._loop.calls.count

    @property
    def open_streams(self) -> int:
        """Number of open calls that are streams."""
        return len(self._loop.streams)

    @property
    def lag(self) -> Histogram:
        """Histogram so far of how late the thread handled its events."""
        return self._loop.lag.snapshot()

    def listen(self, host: str, port: int, certificates: Certificates | None = None) -> int:
        """Bind the address. Returns the port.

        Args:
            host: Name or address.
            port: 0 = any free port.
            certificates: For TLS; None = no TLS.

        Raises:
            CannotListen: The address is taken, or does not belong to this machine.
        """
        self._upstream.listen(self._server)
        return self._loop.listen(host, port, certificates)

    def start(self) -> None:
        """Start the thread, which serves calls. Requires: the server has been started. Call once."""
        self._thread.start()

    def drain(self) -> None:
        """Refuse new streams. End idle streams now, and the others when their requests in flight are answered.

        Calls of the unary method are served as before. Any thread; does not block.
        """
        self._loop.call_soon(self._loop.drain_streams)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is open. Blocks; :meth:`hurry` ends the wait early.

        Returns:
            Whether no call is open.
        """
        return self._loop.calls.wait_idle(timeout_s)

    def hurry(self) -> None:
        """End every :meth:`wait_idle` early."""
        self._loop.calls.hurry()

    def stop_server(self, grace_s: float | None) -> threading.Event:
        """Accept no more calls. Calls in progress have ``grace_s`` to end, then they are cancelled.

        May be called again, with less time.

        Returns:
            Set when no call is in progress. Responses may still be on their way to slow clients.
        """
        # Must come first: calls that the grpcio server cancels from now on were not cancelled by their clients.
        self._loop.stopping = True
        stopped, over = self._server.stop(grace_s), threading.Event()
        self._loop.call_soon(self._loop.close_listeners)
        if not grace_s:
            self.hurry()
        threading.Thread(
            target=self._await_stop, args=(grace_s or 0.0, stopped, over), name="lane-stop", daemon=True
        ).start()
        return over

    def stop(self, patience_s: float = 0.0) -> None:
        """End the thread. Requires: the server is stopped and every call has been answered. Call once; blocks.

        Args:
            patience_s: How long clients have to read the responses.
        """
        self._loop.transports.wait(patience_s)
        if self._loop.handshakes is not None:
            self._loop.handshakes.join()
        self._loop.call_soon(self._loop.end)
        self._thread.join()
        self._loop.free()

    def _await_stop(self, grace_s: float, stopped: threading.Event, over: threading.Event) -> None:
        """Body of a thread: set ``over`` once the calls in progress have ended, or were cancelled after ``grace_s``."""
        if not self.wait_idle(grace_s):
            self._loop.call_soon(self._loop.cancel_all)
        stopped.wait()
        over.set()
