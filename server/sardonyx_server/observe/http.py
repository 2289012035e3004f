"""Probes over HTTP for orchestrators that speak no gRPC. Read-only; off unless a port is set.

    GET /livez   /v2/health/live    200 while the process works
    GET /readyz                     200 when ready, 503 otherwise
    GET /v2/health/ready            200 when ready, 400 otherwise (the Open Inference Protocol asks for 4xx)

Serves no metrics, models or operations. The Host header must be an address, ``localhost`` or the name listened on:
a page in someone's browser can point a name of its own at this machine, but cannot choose those (DNS rebinding).
Starlette and uvicorn are imported when an endpoint is started, so a server without one does not pay for them.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

__all__ = ["HttpEndpoint", "host_is_allowed"]

_STOP_TIMEOUT_S = 5.0
_PORT = re.compile(r":[0-9]{1,5}\Z")
# An orchestrator and a person or two; anything beyond is answered 503 by uvicorn.
_CONNECTIONS = 64


class HttpEndpoint:
    """The probes on one port, answered from a thread of their own.

    Args:
        host: Address to listen on.
        port: Port; 0 takes any free one.
        live: Says whether the process works. Called on the endpoint's thread; must not block.
        ready: Says whether requests will be answered. Same.

    Raises:
        OSError: The port cannot be listened on.
    """

    def __init__(self, *, host: str, port: int, live: Callable[[], bool], ready: Callable[[], bool]) -> None:
        self._host = host
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        import uvicorn

        self._server = uvicorn.Server(
            uvicorn.Config(
                _application(host, live, ready),
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
        self._thread = threading.Thread(target=self._serve, name="sardonyx-http", daemon=True)

    def start(self) -> None:
        """Begins to answer. Returns at once; connections made before are answered as soon as the thread runs."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering and closes the port. Waits for the thread at most a few seconds."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_STOP_TIMEOUT_S)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def host_is_allowed(header: str, listens_on: str) -> bool:
    """Whether a request with this Host header may be answered by an endpoint that listens on ``listens_on``."""
    name = _PORT.sub("", header).lower()
    if name in ("localhost", listens_on.lower()):
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def _application(host: str, live: Callable[[], bool], ready: Callable[[], bool]) -> Starlette:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    def probe(question: Callable[[], bool], otherwise: int) -> Callable[[Request], object]:
        async def answer(request: Request) -> Response:
            if not host_is_allowed(request.headers.get("host", ""), host):
                return PlainTextResponse(
                    f"this endpoint answers to its address, to localhost and to {host!r} only\n", status_code=421
                )
            holds = question()
            return PlainTextResponse("ok\n" if holds else "not ready\n", status_code=200 if holds else otherwise)

        return answer

    routes = {
        "/livez": probe(live, 503),
        "/readyz": probe(ready, 503),
        "/v2/health/live": probe(live, 400),
        "/v2/health/ready": probe(ready, 400),
    }
    return Starlette(routes=[Route(path, answer, methods=["GET"]) for path, answer in routes.items()])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without SO_REUSEPORT, so that a second server on the same port is an error and not a silent half of the traffic.
    return socket.create_server((host.strip("[]"), port), family=family, backlog=_CONNECTIONS)
