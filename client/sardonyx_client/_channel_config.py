"""Options of a client -> configuration of grpcio's channel and of the HTTP/2 channel.

grpcio's retries and load balancing are gRPC's own, configured by a service config: gRPC's core keeps one deadline for
all attempts, adds jitter to backoff, obeys the server's push-back, and throttles retries when too many calls fail.
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
    from sardonyx_client._http2.endpoint import Http2ChannelConfig
    from sardonyx_client._options import TLS, Compression, Retry

__all__ = ["ChannelConfig", "channel_options", "parse_target"]

_SERVICE: Final = "inference.GRPCInferenceService"
# Not loading and unloading: the first attempt may have succeeded before the connection was lost. Not streams, which
# have responded in part. Not liveness and readiness, for which UNAVAILABLE means "no".
_RETRYABLE_METHODS: Final = (
    "ModelInfer",
    "ServerMetadata",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
)
# Requests are kept for retries up to this total size. It is not an allocation: the bytes exist anyway.
_RETRY_BUFFER_BYTES: Final = 1 << 30
_MS_PER_S: Final = 1000
# URL schemes that users of other clients may pass; none is a scheme of gRPC's resolvers.
_FOREIGN_SCHEMES: Final = ("http", "https", "grpc", "grpcs", "tcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConfig:
    """Configuration of grpcio's channel, and of the HTTP/2 channel beside it.

    Attributes:
        target: gRPC target.
        options: Channel options.
        credentials: None = no TLS.
        compression: Compression of requests.
        http2: Configuration of the HTTP/2 channel; None = it does not support this target or these options.
    """

    target: str
    options: tuple[tuple[str, str | int], ...]
    credentials: grpc.ChannelCredentials | None
    compression: grpc.Compression
    http2: Http2ChannelConfig | None

    @classmethod
    def from_options(
        cls,
        address: str | Sequence[str],
        *,
        retry: Retry | None,
        tls: TLS | None,
        compression: Compression | None,
        max_message_bytes: int | None,
        keepalive_s: float | None,
        transport: Transport,
    ) -> ChannelConfig:
        """Build it from the arguments of a client.

        Raises:
            InvalidArgument: An argument is invalid.
        """
        options = channel_options(
            multiple_addresses=not isinstance(address, str) and len(address) > 1,
            retry=retry,
            tls=tls,
            max_message_bytes=max_message_bytes,
            keepalive_s=keepalive_s,
        )
        target = parse_target(address)
        return cls(
            target=target,
            options=tuple(options),
            credentials=None if tls is None else grpc.ssl_channel_credentials(*tls.pems()),
            compression=_grpc_compression(compression),
            http2=_http2_config(
                target,
                plain=tls is None and compression is None,
                retry=retry,
                max_message_bytes=max_message_bytes,
                keepalive_s=keepalive_s,
                transport=transport,
            ),
        )


def _http2_config(
    target: str,
    *,
    plain: bool,
    retry: Retry | None,
    max_message_bytes: int | None,
    keepalive_s: float | None,
    transport: Transport,
) -> Http2ChannelConfig | None:
    """Configuration of the HTTP/2 channel; None = it cannot be used.

    Raises:
        InvalidArgument: ``transport`` is unknown.
    """
    if transport not in get_args(Transport):
        raise InvalidArgument(f"transport: expected 'auto' or 'grpcio', got {transport!r}")
    from sardonyx_client._http2.endpoint import Http2ChannelConfig, parse_endpoint

    endpoint = parse_endpoint(target) if plain and transport == "auto" else None
    if endpoint is None:
        return None
    return Http2ChannelConfig(
        endpoint=endpoint, retry=retry, max_message_bytes=max_message_bytes, keepalive_s=keepalive_s
    )


def parse_target(addresses: str | Sequence[str]) -> str:
    """Addresses -> one gRPC target. Several must be ``host:port``; their names are resolved here, once.

    Raises:
        InvalidArgument: There is no address, one is not ``host:port``, or a name cannot be resolved.
    """
    if isinstance(addresses, str):
        return _validated(addresses)
    if not isinstance(addresses, Sequence):
        raise InvalidArgument(f"address: expected 'host:port', got {addresses!r}")
    if not addresses:
        raise InvalidArgument("address: expected at least one, got none")
    if len(addresses) == 1:
        return _validated(addresses[0])
    found = [endpoint for address in addresses for endpoint in _resolve(address)]
    families = {version for version, _ in found}
    if len(families) > 1:
        raise InvalidArgument(f"address: {', '.join(addresses)} are partly IPv4 and partly IPv6; give one kind")
    return f"ipv{families.pop()}:" + ",".join(endpoint for _, endpoint in found)


def _validated(address: str) -> str:
    """A single address, unchanged.

    gRPC treats what it does not understand as a host name, and every call would fail as unavailable.
    """
    if not address:
        raise InvalidArgument("address: expected 'host:port', got ''")
    scheme, found, rest = address.partition("://")
    if found and scheme.lower() in _FOREIGN_SCHEMES:
        raise InvalidArgument(
            f"address {address!r}: expected host:port, without {scheme}://, such as {rest.strip('/')!r}"
        )
    return address


def _resolve(address: str) -> list[tuple[int, str]]:
    """``host:port`` -> (IP version, endpoint) of each address."""
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
    *,
    multiple_addresses: bool,
    retry: Retry | None,
    tls: TLS | None,
    max_message_bytes: int | None,
    keepalive_s: float | None,
) -> list[tuple[str, str | int]]:
    """Options of grpcio's channel.

    Args:
        multiple_addresses: Whether there are several addresses; if so, the servers' health is watched.
        retry: Retry policy; None = never retry.
        tls: None = no TLS.
        max_message_bytes: Largest message of requests and responses; None = no limit here, the server has its own.
        keepalive_s: Time without traffic after which the connection is pinged; None = never.
    """
    limit = -1 if max_message_bytes is None else max_message_bytes
    options: list[tuple[str, str | int]] = [
        ("grpc.max_send_message_length", limit),
        ("grpc.max_receive_message_length", limit),
        # A server that has just started is found within 0.1 s instead of 1 s.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5000),
        ("grpc.enable_retries", int(retry is not None)),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        # Ignore service configs from DNS records.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.service_config", _service_config(retry, multiple_addresses=multiple_addresses)),
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


def _grpc_compression(name: Compression | None) -> grpc.Compression:
    """Name of a compression -> grpcio's value.

    Raises:
        InvalidArgument: The name is unknown.
    """
    known = {None: grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
    if name not in known:
        raise InvalidArgument(f"compression: expected 'gzip', 'deflate' or None, got {name!r}")
    return known[name]


def _service_config(retry: Retry | None, *, multiple_addresses: bool) -> str:
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if multiple_addresses:
        # A server that reports by grpc.health.v1 that it is stopping gets no new calls; one without the service does.
        # gRPC's core sends no metadata with health checks, so a server that requires a token for them would get no
        # calls.
        config["healthCheckConfig"] = {"serviceName": ""}
    if retry is not None:
        config["methodConfig"] = [
            {
                "name": [{"service": _SERVICE, "method": method} for method in _RETRYABLE_METHODS],
                "retryPolicy": {
                    "maxAttempts": retry.max_attempts,
                    # A duration has at most nine decimals, and no exponent.
                    "initialBackoff": f"{retry.initial_backoff_s:.9f}s",
                    "maxBackoff": f"{retry.max_backoff_s:.9f}s",
                    "backoffMultiplier": retry.backoff_multiplier,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
        config["retryThrottling"] = {"maxTokens": retry.budget, "tokenRatio": round(retry.tokens_per_success, 3)}
    return json.dumps(config)
