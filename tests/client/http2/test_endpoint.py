"""Which targets the HTTP/2 transport can go to."""

from __future__ import annotations

import socket

import pytest

from sardonyx_client import Client, Coalesce, InvalidArgument
from sardonyx_client._http2.endpoint import Endpoint, parse_endpoint, single_server_addresses


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("models:8001", Endpoint(authority="models:8001", host="models", port=8001)),
        ("dns:///models:8001", Endpoint(authority="models:8001", host="models", port=8001)),
        ("dns:models:8001", Endpoint(authority="models:8001", host="models", port=8001)),
        ("[::1]:8001", Endpoint(authority="[::1]:8001", host="::1", port=8001)),
        ("unix:/run/s.sock", Endpoint(authority="localhost", path="/run/s.sock")),
        ("unix:///run/s.sock", Endpoint(authority="localhost", path="/run/s.sock")),
        ("unix:s.sock", Endpoint(authority="localhost", path="s.sock")),
        ("unix:%2Frun", None),
        ("unix:", None),
        ("unix://host/path", None),
        ("models", None),
        ("models:0", None),
        ("models:65536", None),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", None),
        ("xds:///models:8001", None),
        ("dns://8.8.8.8/models:8001", None),
        ("vsock:1:2", None),
    ],
)
def test_one_server_without_a_proxy_is_taken(target: str, found: Endpoint | None) -> None:
    """All other targets are the channel's, for only that knows what they mean."""
    assert parse_endpoint(target, {}) == found


@pytest.mark.parametrize(
    ("environment", "taken"),
    [
        ({"https_proxy": "proxy:1"}, False),
        ({"http_proxy": "proxy:1", "no_proxy": "localhost, .example"}, True),
        ({"grpc_proxy": "proxy:1", "no_grpc_proxy": "other", "no_proxy": ".example"}, False),
        ({"grpc_proxy": ""}, True),
    ],
)
def test_a_proxy_is_the_channels(environment: dict[str, str], taken: bool) -> None:
    """But not where the host is excepted, as gRPC's core reads it. Unix sockets have no proxy."""
    assert (parse_endpoint("models.example:8001", environment) is not None) == taken
    assert parse_endpoint("unix:/run/s.sock", environment) is not None


def test_a_name_with_several_addresses_is_the_channels() -> None:
    """It goes round them. The two addresses of a loopback are one server."""
    ipv4, ipv6 = socket.AF_INET, socket.AF_INET6
    one, twice = (ipv4, 1, 6, "", ("10.0.0.1", 80)), (ipv4, 1, 6, "", ("10.0.0.2", 80))
    assert single_server_addresses([one, one]) == [(ipv4, ("10.0.0.1", 80))]
    assert single_server_addresses([one, twice]) is None
    assert single_server_addresses([]) is None
    loopback = [(ipv6, 1, 6, "", ("::1", 80, 0, 0)), (ipv4, 1, 6, "", ("127.0.0.1", 80))]
    assert single_server_addresses(loopback) == [(ipv6, ("::1", 80, 0, 0)), (ipv4, ("127.0.0.1", 80))]


@pytest.mark.parametrize(
    ("address", "options", "http2"),
    [
        ("models:8001", {}, True),
        (["models:8001"], {"keepalive_s": 5.0, "retry": None, "coalesce": Coalesce()}, True),
        ("models:8001", {"transport": "grpcio"}, False),
        ("models:8001", {"compression": "gzip"}, False),
        (["127.0.0.1:1", "127.0.0.2:1"], {}, False),
    ],
)
def test_a_client_uses_the_http2_transport_where_it_can(
    address: object, options: dict[str, object], http2: bool
) -> None:
    """And the channel where it must, or is told to."""
    with Client(address, **options) as client:  # type: ignore[arg-type]  # that is what is tried
        assert (client._transport._http2_channel is not None) == http2


def test_an_unknown_transport_is_refused() -> None:
    """With those there are."""
    with pytest.raises(InvalidArgument) as raised:
        Client("models:8001", transport="carrier pigeon")  # type: ignore[arg-type]  # that is the point
    assert raised.value.message == "transport: expected 'auto' or 'grpcio', got 'carrier pigeon'"
