"""Event loop of the lane's thread: waits for all sockets, reads them, dispatches the requests, writes the responses.

Cheap models run on this thread. Slow models have runner threads, which pass their responses back.
"""

from __future__ import annotations

import logging
import math
import ssl
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.priority import use_short_time_slices
from sardonyx_server.errors import ShuttingDown
from sardonyx_server.rpc.event_loop_lag import EventLoopLag
from sardonyx_server.rpc.lane.calls.call import LaneCall
from sardonyx_server.rpc.lane.calls.stream import LaneStream
from sardonyx_server.rpc.lane.connections.bad_preface import BadPreface, BadPrefaceLog, HandshakeFailed
from sardonyx_server.rpc.lane.connections.connection import Connection
from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget
from sardonyx_server.rpc.lane.loop.deadlines import Deadlines
from sardonyx_server.rpc.lane.loop.dispatch_queue import STEP, DispatchQueue
from sardonyx_server.rpc.lane.loop.open_calls import OpenCalls
from sardonyx_server.rpc.lane.loop.poller import MAX_EVENTS, Poller
from sardonyx_server.rpc.lane.messages.receive_timeouts import CHECK_INTERVAL_S, ReceiveTimeouts
from sardonyx_server.rpc.lane.messages.response_frames import TrailersOnlyBlocks
from sardonyx_server.rpc.lane.proxy.upstream_connection import UpstreamConnection
from sardonyx_server.rpc.lane.sockets.listeners import Listeners, peer_name
from sardonyx_server.rpc.lane.sockets.socket_transports import SocketTransports
from sardonyx_server.rpc.lane.sockets.tls_handshakes import TlsHandshakes
from sardonyx_server.rpc.lane.sockets.tls_socket import NotTls

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.rpc.access_control import AccessControl
    from sardonyx_server.rpc.lane.limits import Limits
    from sardonyx_server.rpc.lane.loop.dispatch_queue import RequestIntake
    from sardonyx_server.rpc.lane.messages.compression import Level
    from sardonyx_server.rpc.lane.messages.request_headers import RequestHeaders
    from sardonyx_server.rpc.lane.proxy.connection_proxy import ConnectionProxy
    from sardonyx_server.rpc.lane.proxy.proxied_stream import ProxiedStream
    from sardonyx_server.rpc.lane.proxy.upstream import Upstream
    from sardonyx_server.rpc.lane.sockets.protocol_handler import ProtocolHandler
    from sardonyx_server.rpc.lane.sockets.socket_transport import SocketTransport
    from sardonyx_server.rpc.lane.sockets.tls_socket import TlsSocket
    from sardonyx_server.rpc.tls import Certificates

__all__ = ["EventLoop"]

_LOG = logging.getLogger("sardonyx.lane")

# Maximum polls of the sockets before messages are dispatched: a socket that always has data must not delay the others.
_MAX_POLLS: Final = 8
# How long a client has to send the preface of HTTP/2, as in gRPC's core. Without it, a port scanner could keep its file
# descriptor for ever.
_HANDSHAKE_S: Final = 120.0


class EventLoop:
    """The event loop; connections use it as :class:`~sardonyx_server.rpc.lane.connections.host.Host`.

    Args:
        methods: Full names of the unary method, and of the one that takes a stream of the same requests.
        requests: Receives the requests.
        access_control: Checks every call first; None allows all.
        cores: Number of cores that this process may use.
        compression: Compression level of responses, for clients that accept compression.
        limits: Limits on what clients may do.
        upstream: The listening socket of the grpcio server.

    Attributes:
        listeners: Listening sockets.
        calls: Counts the open calls.
        streams: The open calls that are streams.
        handshakes: TLS handshakes; None without TLS, or before :meth:`listen`.
        lag: Measures how late the thread handles its events.
        transports: Connected sockets.
        stopping: See Host; set by any thread.
    """

    def __init__(
        self,
        *,
        methods: tuple[str, str],
        requests: RequestIntake,
        access_control: AccessControl | None,
        cores: int,
        compression: Level,
        limits: Limits,
        upstream: Upstream,
    ) -> None:
        unary, streamed = methods
        self.methods: Mapping[bytes, type[LaneCall | LaneStream]] = {
            unary.encode(): LaneCall,
            streamed.encode(): LaneStream,
        }
        self.max_message_bytes = limits.max_message_bytes
        self.min_ping_interval_s = limits.min_ping_interval_s
        self.compression: Level = compression
        self.unfinished = ByteBudget(limits.unfinished_bytes)
        self.send_budget = SendBudget(limits.unfinished_bytes)
        self.failures = TrailersOnlyBlocks()
        self.bad_prefaces = BadPrefaceLog()
        self.stopping = False
        self._access_control = access_control
        self._upstream = upstream
        self.thread_id = 0
        self._poller = Poller(cores)
        self._requests = requests
        self._dispatch_queue = DispatchQueue(requests)
        self._deadlines = Deadlines()
        self._receive_timeouts = ReceiveTimeouts()
        # When to check for receive timeouts next.
        self._next_check_s = 0.0
        self.handshakes: TlsHandshakes | None = None
        self.listeners = Listeners(self._poller.epoll, self._on_accepted)
        self.calls = OpenCalls()
        self.streams: set[LaneStream] = set()
        self.lag = EventLoopLag(time.monotonic)
        # Bound methods rather than wrappers, which would add a call to each request.
        self.submit = self._dispatch_queue.add
        self.submit_now = self._dispatch_queue.add_now
        self.reserve = requests.reserve
        self.on_overload = self._poller.refused
        self.watch: Callable[[LaneCall | ProxiedStream], None] = self._deadlines.add
        self.call_ended = self.calls.call_ended
        self.call_soon, self.call_when_idle = self._poller.call_soon, self._poller.call_when_idle
        self.cancel_idle_call = self._poller.cancel_idle_call
        self.transports = SocketTransports(self._poller.epoll, self._deadlines.add)
        self.schedule_write: Callable[[ProtocolHandler], None] = self.transports.touched.append
        self._draining = False
        self._stopped = False

    def run(self, on_lost: Callable[[Exception], None]) -> None:
        """Body of the thread; ``on_lost`` is called if the loop itself fails, which is a bug."""
        self.thread_id = threading.get_ident()
        use_short_time_slices()
        try:
            self._run()
        except Exception as error:  # noqa: BLE001  # logged with its traceback; the process is told to end
            _LOG.exception("bug: the lane's loop failed")
            on_lost(error)
            # Clients must not be kept waiting.
            self._accept_no_more()
        self.transports.close()

    def listen(self, host: str, port: int, certificates: Certificates | None) -> int:
        """Bind the address. Returns the port. Requires: the thread has not begun.

        Raises:
            CannotListen: The address is taken, or does not belong to this machine.
        """
        port = self.listeners.listen(host, port)
        if certificates is not None:
            self.handshakes = TlsHandshakes(
                certificates.context,
                patience_s=_HANDSHAKE_S,
                on_done=lambda connected: self.call_soon(partial(self._on_secured, connected)),
                on_failed=lambda *failed: self.call_soon(partial(self._on_refused, *failed)),
                on_lost=lambda error: self.call_soon(partial(_fail, error)),
            )
            self.handshakes.start()
        return port

    def free(self) -> None:
        """Close the poller. Requires: the thread has ended."""
        self._poller.close()

    # Tasks: run on the lane's thread through call_soon().

    def drain_streams(self) -> None:
        """Refuse new streams, end the others once they have no requests in flight, and time out stalled messages."""
        self._draining = True
        self._next_check_s = 0.0
        for stream in list(self.streams):
            stream.drain()

    def close_listeners(self) -> None:
        """Accept no more connections and calls."""
        self.transports.closing = True
        self._accept_no_more()
        for connection in self._connections():
            connection.send_goaway()

    def cancel_all(self) -> None:
        """End all calls."""
        for connection in self._connections():
            connection.cancel_all()

    def end(self) -> None:
        """End the thread."""
        self._stopped = True

    # Called by connections and calls: see Host.

    @property
    def share_bytes(self) -> int:
        """Share of each connection, in bytes, of the responses that clients have not read."""
        return self.send_budget.share_bytes(len(self.transports.by_fd))

    def call_started(self, call: LaneCall | LaneStream, request: RequestHeaders) -> None:
        """A call of one of the lane's methods has begun. Raises ServerError if it is not allowed."""
        self.calls.begun += 1
        if isinstance(call, LaneStream):
            self.streams.add(call)
            self._deadlines.add(call)
        if self._access_control is not None and request.allowed_by is not self._access_control.policy:
            request.allowed_by = self._access_control.check(request.path.decode(), request.metadata, request.peer)
        if self._draining and isinstance(call, LaneStream):
            raise ShuttingDown("the server is stopping and takes no new streams; go to another server")

    def notify_pending(self, model: Model) -> None:
        """Have the requests that wait for a model considered soon. Any thread; never blocks."""
        self.call_soon(partial(self._dispatch_queue.notify_pending, model))

    def refuse(self, error: Exception, call: LaneCall | LaneStream) -> None:
        """End a call that cannot continue, with an error."""
        self._requests.refuse(error, call)

    def stream_ended(self, stream: LaneStream) -> None:
        """A stream has ended, and the engine has none of its requests any more."""
        self.streams.discard(stream)
        self.call_ended()

    def connect_upstream(self, proxy: ConnectionProxy) -> UpstreamConnection | None:
        """Connect to the grpcio server; None if that fails."""
        connected = self._upstream.connect()
        if connected is None:
            return None
        upstream = UpstreamConnection(proxy, self.schedule_write)
        try:
            self.transports.add(connected, upstream)
        except OSError:
            # The user's limit of sockets watched by epoll is reached.
            connected.close()
            return None
        return upstream

    def _run(self) -> None:
        poller, transports, burst, doing = self._poller, self.transports, self._dispatch_queue, self.lag.doing
        by_fd, touched = transports.by_fd, transports.touched
        poll, tasks, waker, waiting = poller.epoll.poll, poller.tasks, poller.waker, burst.waiting
        polls = 0
        while not self._stopped:
            events = poll(0, MAX_EVENTS) if waiting or burst.accepted else poller.wait(self._patience_s)
            for fd, mask in events:
                transport = by_fd.get(fd)
                if transport is not None:
                    transport.on_events(mask)
                elif fd == waker:
                    poller.clear_wakeup()
                else:
                    self.listeners.on_event(fd)
            while tasks:
                doing(tasks.popleft())
            polls += 1
            if (waiting or burst.accepted) and (not events or polls >= _MAX_POLLS or self._should_dispatch()):
                doing(self._dispatch)
            elif len(waiting) >= STEP:
                doing(burst.take_step)
            if not events or polls >= _MAX_POLLS:
                polls = 0
                self._run_timers(time.monotonic())
            if touched or transports.closing:
                self._finish_turn()

    def _dispatch(self) -> None:
        """Dispatch the messages that have arrived to the models."""
        self._dispatch_queue.wake()
        if self.transports.touched:
            self.transports.flush()  # Finished responses must not wait for the models that run now.
        self._dispatch_queue.dispatch()

    def _finish_turn(self) -> None:
        """Write the responses, then run one idle task if no messages wait."""
        self.transports.flush()
        # Only one: messages that arrive meanwhile are answered before the next.
        if self._poller.spare and not self._dispatch_queue.waiting and not self._dispatch_queue.accepted:
            self.lag.doing(self._poller.run_idle_task)

    def _should_dispatch(self) -> bool:
        """Whether to dispatch without another poll: the queue is full, or only one call is open at all."""
        return self._dispatch_queue.is_full or self.calls.count == 1

    def _patience_s(self, now_s: float) -> float:
        """Seconds that the thread may sleep; below 0 = without limit."""
        patience_s = min(self.listeners.patience_s(now_s), self._deadlines.patience_s(now_s))
        if self._needs_receive_timeouts():
            patience_s = min(patience_s, max(0.0, self._next_check_s - now_s))
        return -1 if patience_s == math.inf else patience_s

    def _run_timers(self, now_s: float) -> None:
        """Run the timers that are due."""
        self._deadlines.expire(now_s)
        self.listeners.see_clock(now_s)
        if now_s >= self._next_check_s:
            self._next_check_s = now_s + CHECK_INTERVAL_S
            if self._needs_receive_timeouts():
                self._expire_receive_timeouts(now_s)

    def _needs_receive_timeouts(self) -> bool:
        unary = self.calls.count - len(self.streams)
        return self._receive_timeouts.may_be(unary=unary, unfinished_bytes=self.unfinished.used_bytes)

    def _expire_receive_timeouts(self, now_s: float) -> None:
        """End calls whose message does not arrive in time."""
        receiving = [call for connection in self._connections() for call in connection.receiving]
        for call, error in self._receive_timeouts.late(receiving, now_s, stopping=self._draining):
            call.refuse(error)

    def _on_accepted(self, connected: socket.socket) -> None:
        """A connection was accepted. Raises OSError."""
        if self.handshakes is None:
            self._connect(connected)
        else:
            self.handshakes.begin(connected)

    def _connect(self, connected: socket.socket) -> SocketTransport:
        """Begin HTTP/2 on a socket. Raises OSError."""
        transport = self.transports.add(connected, Connection(self, peer_name(connected)))
        transport.deadline_s = time.monotonic() + _HANDSHAKE_S
        self._deadlines.add(transport)
        return transport

    def _on_secured(self, connected: TlsSocket) -> None:
        """The TLS handshake of a connection is done."""
        try:
            transport = None if self.transports.closing else self._connect(connected)
        except OSError:
            transport = None
        if transport is None:
            connected.close()
        else:
            # epoll does not report data that arrived along with the end of the handshake.
            transport.on_events(0)

    def _on_refused(self, secured: TlsSocket, error: NotTls | ssl.SSLError, alert: bytes) -> None:
        """A TLS handshake failed: tell the client why, in the protocol that it speaks."""
        connected = secured.plain()
        if isinstance(error, ssl.SSLError) and not alert:
            # The client has ended the handshake by an alert: there is nothing to say, least of all without TLS.
            self.bad_prefaces.record(peer_name(connected), HandshakeFailed(error, alert))
            connected.close()
            return
        try:
            connection = Connection(self, peer_name(connected))
            self.transports.add(connected, connection)
        except OSError:
            connected.close()
        else:
            connection.abort(
                BadPreface(error.data, wants_tls=True) if isinstance(error, NotTls) else HandshakeFailed(error, alert)
            )

    def _accept_no_more(self) -> None:
        self.listeners.close()
        if self.handshakes is not None:
            self.handshakes.close()

    def _connections(self) -> list[Connection]:
        return [handler for handler in self.transports.handlers if isinstance(handler, Connection)]


def _fail(error: Exception) -> None:
    """A task that ends the loop, because a thread that it needs has failed."""
    raise error
