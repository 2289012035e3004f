"""HTTP for those who speak no gRPC: orchestrators that probe, and Prometheus. Read-only.

    GET /livez   /v2/health/live    200 while the process works
    GET /readyz                     200 when ready, 503 otherwise
    GET /v2/health/ready            200 when ready, 400 otherwise (the Open Inference Protocol asks for 4xx)
    GET /metrics                    where the endpoint is given metrics to show
    GET /                           one line: the paths above

Serves no models and no operations. The Host header must be an address, ``localhost``, the name listened on, or one that
the operator named: a page in someone's browser can point a name of its own at this machine, but cannot choose those
(DNS rebinding). Who sends no such header is no browser. Starlette and uvicorn are imported on the endpoint's thread:
the models load in the meantime.
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
# An orchestrator and a person or two; anything beyond is answered 503 by uvicorn.
_CONNECTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a path shows besides the probes.

    Attributes:
        media_type: For the header Content-Type.
        write: Makes the body. Called on the endpoint's thread, one call at a time; should be done in milliseconds.
    """

    media_type: str
    write: Callable[[], bytes]


class HttpEndpoint:
    """The probes on one port, and metrics where there are any, answered from a thread of their own.

    Args:
        host: Address to listen on.
        port: Port; 0 takes any free one.
        live: Says whether the process works. Called on the endpoint's thread; must not block.
        ready: Says whether requests will be answered. Same.
        metrics: What ``/metrics`` shows; None: nothing is there.
        names: Names that may stand in the Host header besides the usual ones; ``*`` allows any.

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
        """Begins to answer. Returns at once; connections made before are answered as soon as the thread runs."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering and closes the port. Waits for the thread at most a few seconds."""
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
        # A stop that came before there was a server to tell of it.
        if not self._stopped:
            self._server.run(sockets=[self._socket])


def host_is_allowed(header: str, names: Sequence[str]) -> bool:
    """Whether a request with this Host header may be answered by an endpoint that goes by these names."""
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
            # None at all, which HTTP/1.0 allows and no browser does: how HAProxy probes.
            if (header := request.headers.get("host")) is None or host_is_allowed(header, names):
                return respond()
            return PlainTextResponse(
                f"this endpoint answers to its address, to localhost and to {', '.join(map(repr, names))} only; "
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
        # A header of its own: Response would add a second charset to a media type of text.
        routes[METRICS_PATH] = lambda: Response(metrics.write(), headers={"Content-Type": metrics.media_type})
    index = f"here are {', '.join(sorted(routes))}; models are served over gRPC, on another port"
    routes["/"] = lambda: PlainTextResponse(f"{index}\n")
    # In the form of the protocol over HTTP, so that its clients show the text.
    unknown = guarded(lambda: JSONResponse({"error": index}, status_code=404))

    async def not_found(request: Request, _error: Exception) -> Response:
        return await unknown(request)

    return Starlette(
        routes=[Route(path, guarded(respond), methods=["GET"]) for path, respond in routes.items()],
        exception_handlers={404: not_found},
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without SO_REUSEPORT, so that a second server on the same port is an error and not a silent half of the traffic.
    return socket.create_server((host.strip("[]"), port), family=family, backlog=_CONNECTIONS)
