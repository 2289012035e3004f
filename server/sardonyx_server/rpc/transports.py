"""Chooses the transport of ModelInfer and ModelStreamInfer: the lane, or grpcio's public API."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc

from sardonyx_server.errors import SettingsError
from sardonyx_server.rpc.grpcio_transport import GrpcioTransport
from sardonyx_server.rpc.lane.lane import Lane
from sardonyx_server.rpc.lane.limits import Limits
from sardonyx_wire.messages import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.intake import Intake
    from sardonyx_server.rpc.access_control import AccessControl
    from sardonyx_server.settings import Settings

__all__ = ["Transport", "make_transport"]

_LOG = logging.getLogger("sardonyx.app")

_METHODS: Final = METHODS["ModelInfer"].path, METHODS["ModelStreamInfer"].path

Transport: TypeAlias = Lane | GrpcioTransport


def make_transport(
    server: grpc.Server,
    settings: Settings,
    *,
    make_intake: Callable[[str], Intake],
    access_control: AccessControl | None,
    cores: int,
    self_check: Callable[[], str],
    on_lost: Callable[[Exception], None],
) -> Transport:
    """Make the transport that the settings name; by default the lane if it works, else the one on grpcio.

    Args:
        server: Serves all other methods; not started yet.
        settings: The server's settings.
        make_intake: Name of a transport -> a new intake. Called once for each thread that reads requests.
        access_control: Checked first in every call; None allows every call.
        cores: Number of CPU cores that this process may use.
        self_check: Returns why the lane cannot be used, or "" if it can. Blocks for some milliseconds.
        on_lost: Called on the lane's thread if its event loop fails, which is a bug.

    Raises:
        SettingsError: The settings require the lane, and it does not work here.
    """
    wanted = settings.transport
    problem = "--transport grpcio asks for it" if wanted == "grpcio" else self_check()
    if not problem:
        return Lane(
            server,
            methods=_METHODS,
            intake=make_intake(Lane.name),
            access_control=access_control,
            cores=cores,
            compression=settings.grpc_infer_response_compression_level,
            limits=Limits(
                max_message_bytes=settings.max_message_bytes,
                unfinished_bytes=settings.max_queue_bytes,
                min_ping_interval_s=settings.keepalive_min_ping_interval_s / 2,
            ),
            on_lost=on_lost,
        )
    if wanted == "lane":
        raise SettingsError(
            f"transport: 'lane' does not work here with grpcio {grpc.__version__} ({problem}); install another "
            "version, or leave it to 'auto', which then serves on grpcio's public API"
        )
    _LOG.warning(
        "ModelInfer is served on grpcio's public API, many times slower than on the lane",
        extra={"grpcio": grpc.__version__, "reason": problem},
    )
    return GrpcioTransport(
        server,
        methods=_METHODS,
        make_intake=lambda: make_intake(GrpcioTransport.name),
        access_control=access_control,
        max_message_bytes=settings.max_message_bytes,
    )
