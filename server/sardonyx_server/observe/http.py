"""The HTTP endpoint: health probes for orchestrators, and metrics for Prometheus. Read-only.

    GET /livez   /v2/health/live    200 while the process works
    GET /readyz                     200 when ready, 503 otherwise
    GET /v2/health/ready            200 when ready, 400 otherwise (the Open Inference Protocol requires 4xx)
    GET /metrics                    if the endpoint serves metrics
    GET /                           one line that lists these paths

Against DNS rebinding, the Host header must be an IP address, ``localhost``, the name listened on, or a name set by the
operator: a web page can resolve a name of its own to this machine, but none of these. A request without the header does
not come from a browser and is accepted. Starlette and uvicorn are imported on the endpoint's thread, while models load.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from sardonyx_server.observe.http_server import HttpServer

__all__ = ["METRICS_PATH", "HttpEndpoint", "Page", "host_is_allowed"]

METRICS_PATH = "/metrics"

_STOP_TIMEOUT_S = 5.0
_PORT = re.compile(r":[0-9]{1,5}\Z")
# Enough for an orchestrator, Prometheus and a few people; uvicorn answers 503 beyond that.
_CONNECTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The content of a path other than the probes.

    Attributes:
        media_type: Value of the Content-Type header.
        write: Returns the body. Called on the endpoint's thread, one call at a time; should take only milliseconds.
    """

    media_type: str
    write: Callable[[], bytes]


class HttpEndpoint:
    """Serves probes, and optionally metrics, on one port from its own thread.

    Args:
        host: Address to listen on.
        port: 0 takes any free one.
        live: Whether the process works. Called on the endpoint's thread; must not block.
        ready: Whether requests will be answered. Likewise.
        metrics: The content of ``/metrics``; None = not served.
        names: Further names allowed in the Host header; ``*`` allows any.

    Raises:
        OSError: The port cannot be listened on.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        live: Callable[[], bool],
        ready: Callable[[], bool],
        metrics: Page | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._make_application = partial(_application, (host, *names), live, ready, metrics)
        self._server: HttpServer | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._serve, name="sardonyx-http", daemon=True)

    def start(self) -> None:
        """Starts the thread and returns at once. Connections made before are answered as soon as it runs."""
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread and closes the port. Blocks for a few seconds at most."""
        self._stopped = True
        if self._server is not None:
            self._server.end()
        if self._thread.ident is not None:
            self._thread.join(_STOP_TIMEOUT_S)
        self._socket.close()

    def _serve(self) -> None:
        """Body of the endpoint's thread."""
        import uvicorn

        from sardonyx_server.observe.http_server import HttpServer

        self._server = HttpServer(
            uvicorn.Config(
                self._make_application(),
                http="h11",
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_CONNECTIONS,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
            )
        )
        # stop() may have been called before there was a server to stop.
        if not self._stopped:
            self._server.run(sockets=[self._socket])


def host_is_allowed(header: str, names: Sequence[str]) -> bool:
    """Whether a Host header is allowed for an endpoint with these names."""
    name = _PORT.sub("", header).lower()
    if "*" in names or name == "localhost" or name in (known.lower() for known in names):
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def _application(
    names: Sequence[str], live: Callable[[], bool], ready: Callable[[], bool], metrics: Page | None
) -> Starlette:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def guarded(respond: Callable[[], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            # A missing header is valid in HTTP/1.0 and never sent by browsers; HAProxy's health checks have none.
            if (header := request.headers.get("host")) is None or host_is_allowed(header, names):
                return respond()
            return PlainTextResponse(
                f"unknown Host: expected an IP address, localhost or {', '.join(map(repr, names))}; "
                "--http-names adds names\n",
                status_code=421,
            )

        return answer

    def probe(question: Callable[[], bool], otherwise: int) -> Callable[[], Response]:
        def respond() -> Response:
            holds = question()
            return PlainTextResponse("ok\n" if holds else "not ready\n", status_code=200 if holds else otherwise)

        return respond

    routes = {
        "/livez": probe(live, 503),
        "/readyz": probe(ready, 503),
        "/v2/health/live": probe(live, 400),
        "/v2/health/ready": probe(ready, 400),
    }
    if metrics is not None:
        # An explicit header, because Response would append a second charset to a text media type.
        routes[METRICS_PATH] = lambda: Response(metrics.write(), headers={"Content-Type": metrics.media_type})
    index = f"paths: {', '.join(sorted(routes))}; models are served over gRPC on another port"
    routes["/"] = lambda: PlainTextResponse(f"{index}\n")
    # The error format of the protocol over HTTP, so that its clients show the text.
    unknown = guarded(lambda: JSONResponse({"error": index}, status_code=404))

    async def not_found(request: Request, _error: Exception) -> Response:
        return await unknown(request)

    return Starlette(
        routes=[Route(path, guarded(respond), methods=["GET"]) for path, respond in routes.items()],
        exception_handlers={404: not_found},
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without SO_REUSEPORT, so that a second server on the same port is an error instead of taking half of the traffic.
    return socket.create_server((host.strip("[]"), port), family=family, backlog=_CONNECTIONS)
