"""Addresses, retries, encryption and limits -> what grpc's channels and the lane take.

Retries and balancing are gRPC's own, told by a service config: its core keeps one deadline over all attempts, jitters
the pauses, obeys the server's push-back, and stops retrying when too many calls fail.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

import grpc

from sardonyx_client._errors import InvalidArgument
from sardonyx_client._options import Transport

if TYPE_CHECKING:
    from sardonyx_client._lane.target import LaneSettings
    from sardonyx_client._options import TLS, Compression, Retry

__all__ = ["Connection", "channel_options", "target_of"]

_SERVICE: Final = "inference.GRPCInferenceService"
# Loading and unloading are not repeated: the first attempt may have done its work before the connection was lost. Nor
# are streams, which have answered in part, nor the question whether there is a server, whose answer is "no".
_RETRIED: Final = ("ModelInfer", "ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics", "RepositoryIndex")
# Requests are kept for another attempt up to this size together; it is no allocation, the bytes are there anyway.
_RETRY_BUFFER_BYTES: Final = 1 << 30
_MS_PER_S: Final = 1000
# How addresses of other programs begin; none is a scheme of gRPC's resolvers.
_NOT_GRPC: Final = ("http", "https", "grpc", "grpcs", "tcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a channel is made of.

    Attributes:
        target: Where to.
        options: Of the channel.
        credentials: None = not encrypted.
        compression: Of what is sent.
        lane: For the calls that need no channel; None = all need it.
    """

    target: str
    options: tuple[tuple[str, str | int], ...]
    credentials: grpc.ChannelCredentials | None
    compression: grpc.Compression
    lane: LaneSettings | None

    @classmethod
    def to(
        cls,
        address: str | Sequence[str],
        *,
        retry: Retry | None,
        tls: TLS | None,
        compression: Compression | None,
        max_message_bytes: int | None,
        keepalive_s: float | None,
        transport: Transport,
    ) -> Connection:
        """From the arguments of a client.

        Raises:
            InvalidArgument: One of them is wrong.
        """
        options = channel_options(
            several=not isinstance(address, str) and len(address) > 1,
            retry=retry,
            tls=tls,
            max_message_bytes=max_message_bytes,
            keepalive_s=keepalive_s,
        )
        target = target_of(address)
        return cls(
            target=target,
            options=tuple(options),
            credentials=None if tls is None else grpc.ssl_channel_credentials(*tls.pems()),
            compression=_compression_of(compression),
            lane=_lane(
                target,
                plain=tls is None and compression is None,
                retry=retry,
                max_message_bytes=max_message_bytes,
                keepalive_s=keepalive_s,
                transport=transport,
            ),
        )


def _lane(
    target: str,
    *,
    plain: bool,
    retry: Retry | None,
    max_message_bytes: int | None,
    keepalive_s: float | None,
    transport: Transport,
) -> LaneSettings | None:
    """What carries calls beside the channel; None where nothing does.

    Raises:
        InvalidArgument: There is no such transport.
    """
    if transport not in get_args(Transport):
        raise InvalidArgument(f"transport: expected 'auto' or 'grpcio', got {transport!r}")
    from sardonyx_client._lane.target import LaneSettings, lane_target

    server = lane_target(target) if plain and transport == "auto" else None
    if server is None:
        return None
    return LaneSettings(target=server, retry=retry, max_message_bytes=max_message_bytes, keepalive_s=keepalive_s)


def target_of(addresses: str | Sequence[str]) -> str:
    """Addresses -> one gRPC target. Several must be ``host:port``; their names are resolved here, once.

    Raises:
        InvalidArgument: None, or one that is not ``host:port``, or a name nobody knows.
    """
    if isinstance(addresses, str):
        return _checked(addresses)
    if not isinstance(addresses, Sequence):
        raise InvalidArgument(f"address: expected 'host:port', got {addresses!r}")
    if not addresses:
        raise InvalidArgument("address: expected at least one, got none")
    if len(addresses) == 1:
        return _checked(addresses[0])
    found = [endpoint for address in addresses for endpoint in _resolve(address)]
    families = {version for version, _ in found}
    if len(families) > 1:
        raise InvalidArgument(f"address: {', '.join(addresses)} are partly IPv4 and partly IPv6; give one kind")
    return f"ipv{families.pop()}:" + ",".join(endpoint for _, endpoint in found)


def _checked(address: str) -> str:
    """The one address, as it is.

    gRPC takes what it does not understand for the name of a host, and then nobody answers.
    """
    if not address:
        raise InvalidArgument("address: expected 'host:port', got ''")
    scheme, found, rest = address.partition("://")
    if found and scheme.lower() in _NOT_GRPC:
        raise InvalidArgument(
            f"address {address!r}: expected host:port, without {scheme}://, such as {rest.strip('/')!r}"
        )
    return address


def _resolve(address: str) -> list[tuple[int, str]]:
    """``host:port`` -> (4 or 6, endpoint) of each."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not host:
        raise InvalidArgument(f"address {address!r}: expected host:port where several addresses are given")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ips = [ipaddress.ip_address(host)]
    except ValueError:
        try:
            infos = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError as error:
            raise InvalidArgument(f"address {address!r}: {error}") from error
        ips = list(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in infos))
        ips = [ip for ip in ips if ip.version == ips[0].version]
    return [(ip.version, f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}") for ip in ips]


def channel_options(
    *, several: bool, retry: Retry | None, tls: TLS | None, max_message_bytes: int | None, keepalive_s: float | None
) -> list[tuple[str, str | int]]:
    """Options of a channel.

    Args:
        several: Whether there are several addresses: then the servers' health is watched.
        retry: None = never.
        tls: None = none.
        max_message_bytes: Of requests and answers; None = no limit here, the server has its own.
        keepalive_s: Time without traffic after which the connection is tried; None = never.
    """
    limit = -1 if max_message_bytes is None else max_message_bytes
    options: list[tuple[str, str | int]] = [
        ("grpc.max_send_message_length", limit),
        ("grpc.max_receive_message_length", limit),
        # A server that has just been started is found within a tenth of a second instead of one.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5000),
        ("grpc.enable_retries", int(retry is not None)),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        # What a DNS record may say of retries and balance is not for this client.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.service_config", _service_config(retry, several=several)),
    ]
    if keepalive_s is not None:
        options += [
            ("grpc.keepalive_time_ms", int(keepalive_s * _MS_PER_S)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def _compression_of(name: Compression | None) -> grpc.Compression:
    """Grpc's value.

    Raises:
        InvalidArgument: It is no compression.
    """
    known = {None: grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
    if name not in known:
        raise InvalidArgument(f"compression: expected 'gzip', 'deflate' or None, got {name!r}")
    return known[name]


def _service_config(retry: Retry | None, *, several: bool) -> str:
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if several:
        # A server that says by grpc.health.v1 that it is stopping gets no new calls. One without the service gets them.
        # Core asks without the client's metadata, so a server that wants a token for this too would get none at all.
        config["healthCheckConfig"] = {"serviceName": ""}
    if retry is not None:
        config["methodConfig"] = [
            {
                "name": [{"service": _SERVICE, "method": method} for method in _RETRIED],
                "retryPolicy": {
                    "maxAttempts": retry.attempts,
                    # Durations have nine decimals at most, and no exponent.
                    "initialBackoff": f"{retry.first_pause_s:.9f}s",
                    "maxBackoff": f"{retry.longest_pause_s:.9f}s",
                    "backoffMultiplier": retry.factor,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
        config["retryThrottling"] = {"maxTokens": retry.budget, "tokenRatio": round(retry.tokens_per_success, 3)}
    return json.dumps(config)
