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
    """The lane. All of it on the lane's thread, but for what says so.

    Attributes:
        methods: Full names of those that are the lane's own.
        compression: How much work goes into compressing answers.
        min_ping_interval_s: Callers that ping more often are cut off.
        bad_prefaces: Who speaks something else than HTTP/2.
    """

    methods: Mapping[bytes, type[LaneCall | LaneStream]]
    compression: Level
    min_ping_interval_s: float
    bad_prefaces: BadPrefaceLog

    def schedule_write(self, handler: ProtocolHandler, /) -> None:
        """Somebody has something to be written."""

    def call_started(self, call: LaneCall | LaneStream, request: RequestHeaders, /) -> None:
        """A call of a method came.

        Raises:
            ServerError: It is not allowed.
        """

    def watch(self, call: LaneCall | ProxiedStream, /) -> None:
        """Have a call expire at its deadline."""
