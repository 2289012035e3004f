"""Which HTTP ports the settings open."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.errors import CannotListen
from sardonyx_server.observe.metrics import MetricSources
from sardonyx_server.observe.ports import HttpPorts
from sardonyx_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def opened(**settings: Any) -> Iterator[HttpPorts]:
    """The ports of a server without models."""
    build = dict.fromkeys(("version", "grpcio", "onnxruntime", "python"), "1")
    ports = HttpPorts(
        Settings(**settings),
        live=lambda: True,
        ready=lambda: False,
        sources=MetricSources(
            registry=Registry(),
            versions=list,
            transport="grpcio",
            open_calls=dict,
            lane_lag=lambda: None,
            build=build,
        ),
    )
    try:
        ports.open()
        yield ports
    finally:
        ports.stop()


def status(url: str) -> int:
    """Of a GET."""
    try:
        with urlopen(url, timeout=60) as answer:  # noqa: S310  # our own server
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_metrics_have_the_probes_beside_them() -> None:
    """One port is enough for an orchestrator and Prometheus."""
    with opened(metrics_port=0) as ports:
        assert status(ports.metrics_url) == 200
        assert status(ports.metrics_url.replace("/metrics", "/livez")) == 200
        assert status(ports.metrics_url.replace("/metrics", "/readyz")) == 503


def test_the_port_of_the_probes_has_no_metrics() -> None:
    """Who may probe need not see the names of models."""
    with opened(metrics_port=None, http_port=0) as ports:
        (endpoint,) = ports._endpoints
        assert ports.metrics_url == ""
        assert status(f"http://127.0.0.1:{endpoint.port}/livez") == 200
        assert status(f"http://127.0.0.1:{endpoint.port}/metrics") == 404


def test_off_is_off() -> None:
    """No port, no thread."""
    with opened(metrics_port=None) as ports:
        assert ports._endpoints == []


def test_metrics_may_have_an_address_of_their_own() -> None:
    """Requests from everywhere, metrics for this machine alone."""
    with opened(host="0.0.0.0", metrics_address="127.0.0.1", metrics_port=0) as ports:  # noqa: S104  # on purpose
        assert ports.metrics_url.startswith("http://127.0.0.1:")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_of_version_6_stands_in_brackets() -> None:
    """In the URL that is shown."""
    try:
        with opened(host="::1", metrics_port=0) as ports:
            assert ports.metrics_url.startswith("http://[::1]:")
            assert status(ports.metrics_url) == 200
    except CannotListen:
        pytest.skip("this machine has no ::1")


def test_a_port_that_is_taken_names_the_flag() -> None:
    """And the way to do without."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as caught, opened(metrics_port=port):
            pass
        assert caught.value.message == (
            f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --metrics-port (or 'off')"
        )
        with pytest.raises(CannotListen, match=r"choose another with --http-port$"), opened(http_port=port):
            pass
