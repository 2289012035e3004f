"""Which addresses lead to this machine, as far as an address tells. Asks nobody."""

from __future__ import annotations

import ipaddress

__all__ = ["is_near"]


def is_near(target: str) -> bool:
    """Whether a gRPC target is one address that leads to this machine only."""
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
