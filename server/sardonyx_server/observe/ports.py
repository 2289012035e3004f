"""The HTTP ports of one server, as its settings ask for them: probes on one, metrics and probes on another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.errors import CannotListen
from sardonyx_server.observe.http import METRICS_PATH, HttpEndpoint, Page
from sardonyx_server.observe.metrics import MEDIA_TYPE, Metrics
from sardonyx_server.text import host_and_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.observe.metrics import Sources
    from sardonyx_server.settings import Settings

__all__ = ["HttpPorts"]


class HttpPorts:
    """Opens and closes them.

    Args:
        settings: Which ports, on which addresses.
        live: Says whether the process works.
        ready: Says whether requests will be answered.
        sources: What metrics are made of.

    Attributes:
        metrics_url: Where Prometheus finds the metrics; "" where they are off, or not opened yet.
    """

    def __init__(
        self, settings: Settings, *, live: Callable[[], bool], ready: Callable[[], bool], sources: Sources
    ) -> None:
        self._settings = settings
        self._live = live
        self._ready = ready
        self._sources = sources
        self._endpoints: list[HttpEndpoint] = []
        self.metrics_url = ""

    def open(self) -> None:
        """Listen on each port and begin to answer. Returns at once. Once.

        Raises:
            CannotListen: A port is taken, or an address is not this machine's.
        """
        settings = self._settings
        if settings.http_port is not None:
            self._open(settings.host, settings.http_port, flag="--http-port", metrics=None)
        if settings.metrics_port is not None:
            host = settings.metrics_address or settings.host
            page = Page(media_type=MEDIA_TYPE, write=Metrics(self._sources).text)
            port = self._open(host, settings.metrics_port, flag="--metrics-port (or 'off')", metrics=page)
            self.metrics_url = f"http://{host_and_port(host, port)}{METRICS_PATH}"

    def stop(self) -> None:
        """Close the ports. Blocks for some seconds at most."""
        for endpoint in self._endpoints:
            endpoint.stop()

    def _open(self, host: str, port: int, *, flag: str, metrics: Page | None) -> int:
        """Open one port; which one that is."""
        try:
            endpoint = HttpEndpoint(
                host=host,
                port=port,
                live=self._live,
                ready=self._ready,
                metrics=metrics,
                names=self._settings.http_names,
            )
        except OSError as error:
            # Behind the reason the standard library repeats the address.
            reason = (error.strerror or str(error)).partition(" (")[0]
            raise CannotListen(
                f"cannot listen on {host_and_port(host, port)}: {reason}; choose another with {flag}"
            ) from error
        endpoint.start()
        self._endpoints.append(endpoint)
        return endpoint.port
