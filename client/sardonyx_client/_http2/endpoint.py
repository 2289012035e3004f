"""Which targets this transport supports: a single server, without a proxy. All others are left to grpcio's channel."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sardonyx_client._options import Retry

__all__ = ["Address", "Endpoint", "Http2ChannelConfig", "parse_endpoint", "single_server_addresses"]

# (address family, address) as sockets take them.
Address = tuple[int, Any]

_HOST_AND_PORT: Final = re.compile(
    r"(?:dns:(?:///)?)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})"
)
# In the order in which gRPC's core reads them.
_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXIES: Final = ("no_grpc_proxy", "no_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server.

    Attributes:
        authority: ``:authority`` of requests, as gRPC's core would set it.
        host: Name or IP address; "" for a Unix socket.
        port: TCP port.
        path: Path of the Unix socket; "" for a host.
    """

    authority: str
    host: str = ""
    port: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2ChannelConfig:
    """Configuration of an HTTP/2 channel.

    Attributes:
        endpoint: The server.
        retry: Retry policy; None = never retry.
        max_message_bytes: Largest message of requests and responses; None = no limit on this side.
        keepalive_s: Time without traffic after which the peer is probed; None = never.
    """

    endpoint: Endpoint
    retry: Retry | None
    max_message_bytes: int | None
    keepalive_s: float | None


def parse_endpoint(target: str, environment: Mapping[str, str] = os.environ) -> Endpoint | None:
    """A gRPC target -> a server; None = only grpcio's channel can resolve it.

    Args:
        target: Such as ``host:port``, ``dns:///host:port`` or ``unix:/path``.
        environment: Variables that may name a proxy.
    """
    if target.startswith("unix:"):
        path = target.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        known = hasattr(socket, "AF_UNIX") and not path.startswith("//") and "%" not in path
        return Endpoint(authority="localhost", path=path) if path and known else None
    found = _HOST_AND_PORT.fullmatch(target)
    if found is None:
        return None
    host = found["host"].removeprefix("[").removesuffix("]")
    port = int(found["port"])
    if not 0 < port < 1 << 16 or _uses_proxy(host, environment):
        return None
    return Endpoint(authority=f"{found['host']}:{found['port']}", host=host, port=port)


def single_server_addresses(infos: Sequence[tuple[Any, ...]]) -> list[Address] | None:
    """Results of ``getaddrinfo`` -> addresses to try, in order; None = they belong to several servers.

    Several loopback addresses count as one server.
    """
    addresses: list[Address] = list(dict.fromkeys((info[0], info[4]) for info in infos))
    hosts = {str(address[0]).partition("%")[0] for _, address in addresses}
    if len(hosts) > 1 and not all(ipaddress.ip_address(host).is_loopback for host in hosts):
        return None
    return addresses or None


def _uses_proxy(host: str, environment: Mapping[str, str]) -> bool:
    """Whether gRPC's core would use a proxy. True in cases of doubt."""
    if not any(environment.get(name) for name in _PROXIES):
        return False
    unproxied = next((environment[name] for name in _NO_PROXIES if environment.get(name)), "")
    return not any(entry.strip() and host.endswith(entry.strip()) for entry in unproxied.split(","))
