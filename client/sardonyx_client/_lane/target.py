"""Which targets the lane can go to: one server, without a proxy. All others are the channel's."""

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

__all__ = ["Address", "LaneSettings", "LaneTarget", "lane_target", "one_server"]

# (family, address) as sockets take them.
Address = tuple[int, Any]

_HOST_AND_PORT: Final = re.compile(
    r"(?:dns:(?:///)?)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})"
)
# In the order in which gRPC's core asks for them.
_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXIES: Final = ("no_grpc_proxy", "no_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneTarget:
    """One server.

    Attributes:
        authority: What it is called in requests, as gRPC's core would call it.
        host: Name or address; "" for a Unix socket.
        port: Of the host.
        path: Of the Unix socket; "" for a host.
    """

    authority: str
    host: str = ""
    port: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings:
    """What a lane is made of.

    Attributes:
        target: The server.
        retry: When calls are made again; None = never.
        max_message_bytes: Of requests and answers; None = no limit on this side.
        keepalive_s: Time without traffic after which the connection is tried; None = never.
    """

    target: LaneTarget
    retry: Retry | None
    max_message_bytes: int | None
    keepalive_s: float | None


def lane_target(target: str, environment: Mapping[str, str] = os.environ) -> LaneTarget | None:
    """A gRPC target -> a server; None where only the channel knows what it means.

    Args:
        target: Such as ``host:port``, ``dns:///host:port`` or ``unix:/path``.
        environment: Where proxies are named.
    """
    if target.startswith("unix:"):
        path = target.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        known = hasattr(socket, "AF_UNIX") and not path.startswith("//") and "%" not in path
        return LaneTarget(authority="localhost", path=path) if path and known else None
    found = _HOST_AND_PORT.fullmatch(target)
    if found is None:
        return None
    host = found["host"].removeprefix("[").removesuffix("]")
    port = int(found["port"])
    if not 0 < port < 1 << 16 or _proxied(host, environment):
        return None
    return LaneTarget(authority=f"{found['host']}:{found['port']}", host=host, port=port)


def one_server(infos: Sequence[tuple[Any, ...]]) -> list[Address] | None:
    """What ``getaddrinfo`` found -> where to connect, in order; None where it is more than one server.

    The addresses of one machine's loopback are one server.
    """
    addresses: list[Address] = list(dict.fromkeys((info[0], info[4]) for info in infos))
    hosts = {str(address[0]).partition("%")[0] for _, address in addresses}
    if len(hosts) > 1 and not all(ipaddress.ip_address(host).is_loopback for host in hosts):
        return None
    return addresses or None


def _proxied(host: str, environment: Mapping[str, str]) -> bool:
    """Whether gRPC's core would go by a proxy. What it is not certain of is taken for one."""
    if not any(environment.get(name) for name in _PROXIES):
        return False
    unproxied = next((environment[name] for name in _NO_PROXIES if environment.get(name)), "")
    return not any(entry.strip() and host.endswith(entry.strip()) for entry in unproxied.split(","))
