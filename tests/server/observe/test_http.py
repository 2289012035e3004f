"""The probes and the page of metrics over a real socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sardonyx_server.observe.http import HttpEndpoint, Page, host_is_allowed


class Probed:
    """Answers of a server that the test decides."""

    live = True
    ready = False


@pytest.fixture
def probed() -> Probed:
    """Live, not ready."""
    return Probed()


@pytest.fixture
def endpoint(probed: Probed) -> Iterator[HttpEndpoint]:
    """An endpoint on a free port of this machine."""
    endpoint = HttpEndpoint(host="127.0.0.1", port=0, live=lambda: probed.live, ready=lambda: probed.ready)
    endpoint.start()
    yield endpoint
    endpoint.stop()


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one request."""

    status: int
    media_type: str | None
    body: bytes


def ask(endpoint: HttpEndpoint, path: str, *, method: str = "GET", host: str | None = None) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Content-Type"), response.read())
    finally:
        connection.close()


def status(endpoint: HttpEndpoint, path: str, *, method: str = "GET", host: str | None = None) -> int:
    """The status of one request."""
    return ask(endpoint, path, method=method, host=host).status


@contextmanager
def serving(**more: Any) -> Iterator[HttpEndpoint]:
    """An endpoint with more than the probes."""
    endpoint = HttpEndpoint(host="127.0.0.1", port=0, live=lambda: True, ready=lambda: True, **more)
    endpoint.start()
    yield endpoint
    endpoint.stop()


def test_probes_tell_liveness_and_readiness(endpoint: HttpEndpoint, probed: Probed) -> None:
    """The two of the protocol answer 4xx where the answer is no, as it asks."""
    paths = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready")
    assert [status(endpoint, path) for path in paths] == [200, 503, 200, 400]
    probed.ready = True
    assert [status(endpoint, path) for path in paths] == [200, 200, 200, 200]
    probed.live = False
    assert [status(endpoint, path) for path in paths] == [503, 200, 400, 200]


def test_there_is_nothing_to_write_and_nothing_else_to_read(endpoint: HttpEndpoint) -> None:
    """GET and HEAD of four paths and their list, no more."""
    assert status(endpoint, "/livez", method="HEAD") == 200
    assert [status(endpoint, "/livez", method=method) for method in ("POST", "PUT", "DELETE")] == [405, 405, 405]
    assert status(endpoint, "/metrics") == 404
    assert status(endpoint, "/v2/models") == 404


def test_who_asks_for_no_path_or_an_unknown_one_is_told_which_there_are(endpoint: HttpEndpoint) -> None:
    """A person with a browser, and clients of Triton's HTTP, in the form in which they expect an error."""
    probes = "/livez, /readyz, /v2/health/live, /v2/health/ready; models are served over gRPC on another port\n"
    assert ask(endpoint, "/") == Answer(200, "text/plain; charset=utf-8", f"paths: {probes}".encode())
    error = json.dumps({"error": f"paths: {probes.strip()}"}, separators=(",", ":")).encode()
    for method in ("GET", "POST"):
        assert ask(endpoint, "/v2/models/m/infer", method=method) == Answer(404, "application/json", error)
    assert status(endpoint, "/v2/models/m/infer", host="attacker.example") == 421
    assert status(endpoint, "/", host="attacker.example") == 421
    with serving(metrics=Page(media_type="text/plain", write=lambda: b"")) as other:
        assert ask(other, "/").body == b"paths: /livez, /metrics" + f", {probes}".removeprefix(", /livez").encode()


def test_metrics_are_shown_as_they_are_at_that_moment() -> None:
    """With the media type that says in which format they are."""
    pages = iter([b"a 1\n", b"a 2\n"])
    page = Page(media_type="text/plain; version=0.0.4; charset=utf-8", write=lambda: next(pages))
    with serving(metrics=page) as endpoint:
        assert ask(endpoint, "/metrics") == Answer(200, page.media_type, b"a 1\n")
        assert ask(endpoint, "/metrics") == Answer(200, page.media_type, b"a 2\n")
        assert status(endpoint, "/metrics", method="POST") == 405
        assert status(endpoint, "/livez") == 200


def test_a_foreign_host_header_is_refused(endpoint: HttpEndpoint) -> None:
    """A page in a browser can point its own name at this machine, and can choose no other."""
    refused = ask(endpoint, "/livez", host="evil.example")
    assert refused.status == 421
    assert refused.body == (
        b"unknown Host: expected an IP address, localhost or '127.0.0.1'; --http-names adds names\n"
    )
    assert status(endpoint, "/livez", host=f"localhost:{endpoint.port}") == 200


def test_who_sends_no_host_header_is_answered(endpoint: HttpEndpoint) -> None:
    """Load balancers that probe with HTTP/1.0; a browser always sends one."""
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as connection:
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"


def test_the_operator_may_add_names() -> None:
    """A Prometheus that finds its targets by name sends that name."""
    page = Page(media_type="text/plain", write=lambda: b"")
    with serving(metrics=page, names=("sardonyx", "models.internal")) as endpoint:
        assert status(endpoint, "/metrics", host="sardonyx:8002") == 200
        assert status(endpoint, "/metrics", host="Models.Internal") == 200
        assert status(endpoint, "/metrics", host="evil.example") == 421


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("10.1.2.3:8000", True),
        ("[::1]:8000", True),
        ("LocalHost", True),
        ("models.internal:8000", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:80", False),
        ("", False),
        (":80", False),
    ],
)
def test_addresses_localhost_and_the_own_name_are_allowed(header: str, *, allowed: bool) -> None:
    """Orchestrators probe by address."""
    assert host_is_allowed(header, ("models.internal",)) is allowed


def test_a_star_allows_any_name() -> None:
    """For networks where no browser is."""
    assert host_is_allowed("evil.example", ("127.0.0.1", "*"))


def test_a_port_in_use_is_an_error_at_once() -> None:
    """Not later, on a thread where nobody sees it."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        HttpEndpoint(host="127.0.0.1", port=taken.getsockname()[1], live=lambda: True, ready=lambda: True)


def test_a_stop_before_the_start_closes_the_port() -> None:
    """A server may be told to stop while it starts."""
    endpoint = HttpEndpoint(host="127.0.0.1", port=0, live=lambda: True, ready=lambda: True)
    endpoint.stop()
    with socket.create_server(("127.0.0.1", endpoint.port)):
        pass


def test_a_stop_at_once_ends_the_thread() -> None:
    """Whether it comes before the thread has a server to tell or after."""
    for _ in range(5):
        endpoint = HttpEndpoint(host="127.0.0.1", port=0, live=lambda: True, ready=lambda: True)
        endpoint.start()
        endpoint.stop()
        assert not endpoint._thread.is_alive()


def test_the_port_is_free_again_after_the_stop(endpoint: HttpEndpoint) -> None:
    """So that a restart finds it."""
    endpoint.stop()
    with socket.create_server(("127.0.0.1", endpoint.port)):
        pass
