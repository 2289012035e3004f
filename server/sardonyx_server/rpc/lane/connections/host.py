"""What connections need of the event loop, for themselves and for their streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sardonyx_server.rpc.lane.calls.host import CallHost
from sardonyx_server.rpc.lane.proxy.host import ProxyHost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_server.rpc.lane.calls.call import LaneCall
    from sardonyx_server.rpc.lane.calls.stream import LaneStream
    from sardonyx_server.rpc.lane.connections.bad_preface import BadPrefaceLog
    from sardonyx_server.rpc.lane.messages.compression import Level
    from sardonyx_server.rpc.lane.messages.request_headers import RequestHeaders
    from sardonyx_server.rpc.lane.proxy.proxied_stream import ProxiedStream
    from sardonyx_server.rpc.lane.sockets.protocol_handler import ProtocolHandler

__all__ = ["Host"]


class Host(CallHost, ProxyHost, Protocol):
    """The event loop. Used on the lane's thread, unless a member says otherwise.

    Attributes:
        methods: Full names of the lane's own methods, with the class of their calls.
        compression: Compression level of responses.
        min_ping_interval_s: Connections of clients that ping more often are closed.
        bad_prefaces: Logs clients that speak the wrong protocol or fail the TLS handshake.
    """

    methods: Mapping[bytes, type[LaneCall | LaneStream]]
    compression: Level
    min_ping_interval_s: float
    bad_prefaces: BadPrefaceLog

    def schedule_write(self, handler: ProtocolHandler, /) -> None:
        """Have the output of a handler written at the end of the turn."""

    def call_started(self, call: LaneCall | LaneStream, request: RequestHeaders, /) -> None:
        """A call of one of the lane's methods has begun.

        Raises:
            ServerError: The call is not allowed.
        """

    def watch(self, call: LaneCall | ProxiedStream, /) -> None:
        """Let a call expire at its deadline."""
