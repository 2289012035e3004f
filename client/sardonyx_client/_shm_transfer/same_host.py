"""Same-host detection: which addresses lead to this machine, judged by the address alone."""

from __future__ import annotations

import ipaddress

__all__ = ["is_same_host"]


def is_same_host(target: str) -> bool:
    """Whether a gRPC target is a single loopback address or Unix socket."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    scheme, colon, rest = target.partition(":")
    endpoint = rest.lstrip("/") if colon and scheme in {"dns", "ipv4", "ipv6"} else target
    host = endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
