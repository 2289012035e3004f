"""The lane as a transport: what the server asks of it, from its start to its end. Its thread's work is in loop/.

It takes two methods. What belongs to neither goes on to the grpcio server, which listens on a socket of its own.
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
    """Takes two methods from the sockets and answers them through an intake.

    Args:
        server: A grpcio server that has not been started; takes all other methods.
        methods: Full names of the unary method, and of the one that takes a stream of the same requests.
        intake: Where requests go; used by the lane's thread only.
        access_control: Asked first in every call; None allows all.
        cores: That this process may use.
        compression: How much work goes into compressing answers, for callers that accept it.
        limits: Of what callers may do.
        on_lost: Called on the lane's thread if its loop itself fails, which is a bug.

    Attributes:
        thread: The one that takes calls in, as the engine sees it.
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
        """Calls that were taken and are not over yet."""
        return self._loop.calls.count

    @property
    def open_streams(self) -> int:
        """Those of them that are streams."""
        return len(self._loop.streams)

    @property
    def lag(self) -> Histogram:
        """How late the thread got to its events so far."""
        return self._loop.lag.snapshot()

    def listen(self, host: str, port: int, certificates: Certificates | None = None) -> int:
        """Bind the address. Returns the port.

        Args:
            host: Name or address.
            port: 0 = any that is free.
            certificates: For TLS; None = none is spoken.

        Raises:
            CannotListen: It is taken or not ours.
        """
        self._upstream.listen(self._server)
        return self._loop.listen(host, port, certificates)

    def start(self) -> None:
        """Take calls. Requires: the server has been started. Once."""
        self._thread.start()

    def drain(self) -> None:
        """Refuse new streams, end those that are idle, and the others when what is in flight is answered.

        Calls of the unary method are taken as before. Any thread; does not block.
        """
        self._loop.call_soon(self._loop.drain_streams)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is open. Blocks; :meth:`hurry` ends it early.

        Returns:
            Whether that came about.
        """
        return self._loop.calls.wait_idle(timeout_s)

    def hurry(self) -> None:
        """End :meth:`wait_idle`."""
        self._loop.calls.hurry()

    def stop_server(self, grace_s: float | None) -> threading.Event:
        """Take no more calls; those under way have so long, then they are cancelled. Again: with less time.

        Returns:
            Set when that is over. What was answered may still be on its way to slow callers.
        """
        # First of all: what the grpcio server cancels from now on is not its callers' doing.
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
        """End the thread. Requires: the server is stopped and every call has been answered. Once; blocks.

        Args:
            patience_s: How long callers have to take what was answered.
        """
        self._loop.transports.wait(patience_s)
        if self._loop.handshakes is not None:
            self._loop.handshakes.join()
        self._loop.call_soon(self._loop.end)
        self._thread.join()
        self._loop.free()

    def _await_stop(self, grace_s: float, stopped: threading.Event, over: threading.Event) -> None:
        """Body of a thread: tell when the calls under way are over, or have had their time."""
        if not self.wait_idle(grace_s):
            self._loop.call_soon(self._loop.cancel_all)
        stopped.wait()
        over.set()
