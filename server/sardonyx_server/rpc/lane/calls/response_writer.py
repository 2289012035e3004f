"""Writes the responses, errors and trailers of one connection, under flow control. No I/O; on the lane's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import DeadlineExceeded
from sardonyx_server.rpc.lane.calls.call import LaneCall
from sardonyx_server.rpc.lane.calls.stream import LaneStream
from sardonyx_server.rpc.lane.flow_control.inflow import Inflow
from sardonyx_server.rpc.lane.flow_control.outflow import Outflow, SendQueue
from sardonyx_server.rpc.lane.messages.message_assembly import PREFIX_BYTES
from sardonyx_server.rpc.lane.messages.response_frames import (
    COPIED_BYTES,
    OK_TRAILERS,
    append_response,
    header_frames,
    length_prefixed_parts,
    message_prefix,
    response_envelope,
    response_headers_block,
    short_response,
    trailers_block,
)
from sardonyx_server.rpc.response_size_limit import response_too_large
from sardonyx_wire.http2.frames import LARGEST_WINDOW_BYTES, ErrorCode, rst_stream
from sardonyx_wire.protobuf_fields import MessageParts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.rpc.lane.calls.host import CallHost
    from sardonyx_server.rpc.lane.calls.http2_stream import Http2Stream
    from sardonyx_server.rpc.status import Status
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["ResponseWriter"]

# HPACK's dynamic table size update to 0 (RFC 7541, section 6.3); stands at the beginning of a header block.
_TABLE_SIZE_ZERO: Final = b"\x20"


class ResponseWriter:
    """The response writer of one connection.

    Args:
        host: The lane.
        peer: Address of the caller, in gRPC's form.
        schedule_write: Called when the output buffer becomes non-empty.

    Attributes:
        peer: As given.
        streams: Stream id -> open stream. The connection adds streams; the code that ends one removes it.
        outflow: The outbound half of flow control.
        inflow: The inbound half of flow control.
        write: Writes whole frames that are not subject to flow control.
        ping_strikes: Pings that arrived too soon since something was last sent.
        size_update_pending: Whether the caller still has to be told that our header blocks use no dynamic table. The
            first header block says it, so that the caller may reduce its table at any time.
    """

    __slots__ = (
        "_host", "_send_budget", "inflow", "outflow", "peer", "ping_strikes", "size_update_pending", "streams", "write",
    )  # fmt: skip

    def __init__(self, host: CallHost, peer: str, schedule_write: Callable[[], None]) -> None:
        self._host = host
        self._send_budget = host.send_budget
        self.peer = peer
        self.streams: dict[int, Http2Stream] = {}
        self.outflow = Outflow(host.send_budget, schedule_write)
        self.write = self.outflow.write
        self.inflow = Inflow(self.write)
        self.ping_strikes = 0
        self.size_update_pending = True

    def respond(self, call: LaneCall, message: EncodedMessage) -> None:
        """Send the response of a call. It is dropped if the stream is closed."""
        self._host.call_ended()
        if call.id not in self.streams:
            return
        self.ping_strikes = 0
        outflow, budget = self.outflow, self._send_budget
        size = len(message) + PREFIX_BYTES
        if (
            size > outflow.window
            or budget.used_bytes >= budget.limit_bytes
            or size > outflow.initial_window + call.window_delta
            or size > self._host.max_message_bytes
            or self.size_update_pending
            or call.encoding
            or not call.half_closed
        ):
            self._respond_slowly(call, message)
            return
        del self.streams[call.id]
        outflow.window -= size
        out = outflow.out
        if not out:
            outflow.schedule_write()
        if size <= COPIED_BYTES and size <= outflow.max_frame_bytes and isinstance(message, bytes):
            out.append(short_response(call.id, message))
            return
        outflow.count_output(size)
        if size > outflow.max_frame_bytes:
            append_response(message, call.id, outflow.max_frame_bytes, out)
            return
        before, behind = response_envelope(call.id, len(message))
        out += (before, *message.parts, behind) if isinstance(message, MessageParts) else (before, message, behind)

    def fail(self, call: LaneCall, error: Exception) -> None:
        """Fail a call with the status of an error. Nothing is sent if the stream is closed."""
        self._host.call_ended()
        if self.streams.pop(call.id, None) is not None:
            self._put_failure(call, error)

    def send_message(self, stream: LaneStream, message: bytes, *, first: bool) -> bool:
        """Send one response message of a stream; ``first``: send the response headers before it.

        Returns:
            Whether it was sent. If flow control blocks it, ``stream.on_all_sent()`` is called later.
        """
        self.ping_strikes = 0
        outflow = self.outflow
        opening = (
            header_frames(stream.id, self._with_size_update(response_headers_block(stream.encoding)), end=False)
            if first
            else b""
        )
        size = len(message) + PREFIX_BYTES
        window = outflow.initial_window + stream.window_delta
        if (
            size <= COPIED_BYTES
            and size <= outflow.write_credit
            and size <= outflow.window
            and size <= window
            and size <= outflow.max_frame_bytes
            and not stream.encoding
        ):
            outflow.window -= size
            outflow.write_credit -= size
            stream.window_delta -= size
            self.write(opening + message_prefix(stream.id, len(message)) + message)
            return True
        if opening:
            self.write(opening)
        queue = SendQueue(stream.id, window, paced=True)
        outflow.send(queue, *length_prefixed_parts(message, stream.encoding))
        stream.window_delta = queue.window - outflow.initial_window
        return not queue.parts

    def end_stream(self, stream: LaneStream, failure: Status | None, *, first: bool) -> None:
        """End a stream with a status; None = OK. ``first``: no response headers were sent."""
        if self.streams.pop(stream.id, None) is not None:
            self._put_status(stream.id, trailers_block(failure, first=first), first=first)
            self._put_last(stream)

    def has(self, call: LaneCall) -> bool:
        """Whether the stream of a call is open."""
        return call.id in self.streams

    def time_out(self, call: LaneCall) -> None:
        """End a call whose deadline has passed, unless its stream is closed."""
        if not self.reset_if_blocked(call) and self.streams.pop(call.id, None) is not None:
            self._put_failure(call, DeadlineExceeded("the deadline passed before the answer came"))

    def reset_if_blocked(self, call: LaneCall | LaneStream) -> bool:
        """Reset the stream of a call if flow control blocks a part of its response. Returns whether it did."""
        if self.outflow.discard(call.id) is None:
            return False
        self.streams.pop(call.id, None)
        self.write(rst_stream(call.id, ErrorCode.CANCEL))
        return True

    def terminate_all(self, status: Status, *, proxied: bool) -> None:
        """End all calls with a status, or with RST_STREAM where a part of a message was sent.

        Args:
            status: The status.
            proxied: Whether to end also calls that are proxied to the grpcio server.
        """
        whole, ending = trailers_block(status, first=True), trailers_block(status, first=False)
        for stream_id, call in list(self.streams.items()):
            if not proxied and not isinstance(call, LaneCall | LaneStream):
                continue
            in_midst = self.outflow.queue(stream_id) is not None
            self.cancel(stream_id)
            if in_midst:
                self.write(rst_stream(stream_id, ErrorCode.CANCEL))
                continue
            self._put_status(stream_id, ending if call.headers_sent else whole, first=not call.headers_sent)
            if isinstance(call, LaneCall | LaneStream):
                self._put_last(call)
        if proxied:
            # Responses that the grpcio server has sent in full and that flow control blocks here.
            for stream_id in self.outflow.discard_all():
                self.write(rst_stream(stream_id, ErrorCode.CANCEL))

    def fail_proxied(self, stream_id: int, status: Status) -> None:
        """End a proxied stream to which the grpcio server has sent no response yet."""
        self.cancel(stream_id)
        self._put_status(stream_id, trailers_block(status, first=True), first=True)
        self.write(rst_stream(stream_id, ErrorCode.NO_ERROR))

    def cancel(self, stream_id: int) -> None:
        """Close a stream, and drop the data that are queued for it."""
        call = self.streams.pop(stream_id, None)
        queue = self.outflow.discard(stream_id)
        if queue is not None and queue.on_sent is not None:
            # Return the window of the dropped data to the grpcio server.
            queue.on_sent(sum(len(part) for part in queue.parts if not isinstance(part, bytes)))
        if call is not None:
            call.cancel()

    def increase_window(self, call: LaneCall | LaneStream, size: int) -> None:
        """The caller has increased the send window of a call's stream by ``size`` bytes."""
        queue = self.outflow.queue(call.id)
        window = self.outflow.initial_window + call.window_delta if queue is None else queue.window
        if window + size > LARGEST_WINDOW_BYTES:
            self.cancel(call.id)
            self.write(rst_stream(call.id, ErrorCode.FLOW_CONTROL_ERROR))
        elif queue is None:
            call.window_delta += size
        else:
            queue.window += size
            self.resume(queue)

    def resume(self, only: SendQueue | None = None) -> None:
        """Windows have changed, of one stream or of all (None): send what they now admit."""
        outflow = self.outflow
        if not outflow.blocked_bytes:
            return
        blocked_bytes = outflow.blocked_bytes
        for queue in outflow.resume(only):
            call = self.streams.get(queue.id)
            if call is not None:
                call.on_all_sent(queue.window)
        if outflow.blocked_bytes < blocked_bytes:
            # A caller that receives data may ping: grpc-go does so to estimate the bandwidth-delay product.
            self.ping_strikes = 0

    def remove(self, stream_id: int) -> None:
        """Remove a call whose response has been sent."""
        del self.streams[stream_id]

    def _put_failure(self, call: LaneCall, error: Exception) -> None:
        # One write: while the server is overloaded, most of its output is this.
        self.write(
            header_frames(call.id, self._with_size_update(self._host.failures.of(error)), end=True) + _last(call)
        )

    def _put_status(self, stream_id: int, block: bytes, *, first: bool) -> None:
        self.write(header_frames(stream_id, self._with_size_update(block) if first else block, end=True))

    def _put_last(self, call: LaneCall | LaneStream) -> None:
        if frame := _last(call):
            self.write(frame)

    def _with_size_update(self, block: bytes) -> bytes:
        """The first header block of a response; on the first of a connection, preceded by the table size update."""
        if self.size_update_pending:
            self.size_update_pending = False
            return _TABLE_SIZE_ZERO + block
        return block

    def _respond_slowly(self, call: LaneCall, message: EncodedMessage) -> None:
        """Send a response that exceeds a limit or a window, or needs compression or further frames."""
        limit = self._host.max_message_bytes
        if len(message) > limit:
            del self.streams[call.id]
            self._put_failure(call, response_too_large(len(message), limit))
            return
        if self._exceeds_share:
            del self.streams[call.id]
            self._put_failure(call, self._send_budget.refusal())
            return
        self.write(header_frames(call.id, self._with_size_update(response_headers_block(call.encoding)), end=False))
        queue = SendQueue(call.id, self.outflow.initial_window + call.window_delta, paced=False)
        trailers = header_frames(call.id, OK_TRAILERS, end=True) + _last(call)
        blocked_bytes = self.outflow.blocked_bytes
        self.outflow.send(queue, *length_prefixed_parts(message, call.encoding), trailers)
        self.outflow.count_output(len(message) + PREFIX_BYTES - (self.outflow.blocked_bytes - blocked_bytes))
        if not queue.parts:
            del self.streams[call.id]

    @property
    def _exceeds_share(self) -> bool:
        """Whether the send budget is exhausted and this connection has used up its share."""
        outflow = self.outflow
        own_bytes = outflow.blocked_bytes + outflow.socket_bytes + outflow.output_bytes
        return self._send_budget.is_exhausted and own_bytes > self._host.share_bytes


def _last(call: LaneCall | LaneStream) -> bytes:
    """RST_STREAM(NO_ERROR) for a call answered before END_STREAM: the rest is not needed; otherwise b""."""
    return b"" if call.half_closed else rst_stream(call.id, ErrorCode.NO_ERROR)
