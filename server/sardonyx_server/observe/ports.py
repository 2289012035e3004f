"""The HTTP ports of one server according to its settings: one for probes, one for metrics and probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.errors import CannotListen
from sardonyx_server.observe.http import METRICS_PATH, HttpEndpoint, Page
from sardonyx_server.observe.metrics import MEDIA_TYPE, MetricsCollector
from sardonyx_server.text import host_and_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.observe.metrics import MetricSources
    from sardonyx_server.settings import Settings

__all__ = ["HttpPorts"]


class HttpPorts:
    """Opens and closes the HTTP ports.

    Args:
        settings: Ports and addresses.
        live: Whether the process works.
        ready: Whether requests will be answered.
        sources: The sources of the metrics.

    Attributes:
        metrics_url: URL of the Prometheus metrics; "" if they are off or not open yet.
    """

    def __init__(
        self, settings: Settings, *, live: Callable[[], bool], ready: Callable[[], bool], sources: MetricSources
    ) -> None:
        self._settings = settings
        self._live = live
        self._ready = ready
        self._sources = sources
        self._endpoints: list[HttpEndpoint] = []
        self.metrics_url = ""

    def open(self) -> None:
        """Listen on each port and start serving. Returns at once. Call once.

        Raises:
            CannotListen: A port is in use, or an address does not belong to this machine.
        """
        settings = self._settings
        if settings.http_port is not None:
            self._open(settings.host, settings.http_port, flag="--http-port", metrics=None)
        if settings.metrics_port is not None:
            host = settings.metrics_address or settings.host
            page = Page(media_type=MEDIA_TYPE, write=MetricsCollector(self._sources).text)
            port = self._open(host, settings.metrics_port, flag="--metrics-port (or 'off')", metrics=page)
            self.metrics_url = f"http://{host_and_port(host, port)}{METRICS_PATH}"

    def stop(self) -> None:
        """Close the ports. Blocks for a few seconds at most."""
        for endpoint in self._endpoints:
            endpoint.stop()

    def _open(self, host: str, port: int, *, flag: str, metrics: Page | None) -> int:
        """Open one port; returns its number."""
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
            # The standard library appends the address to the reason.
            reason = (error.strerror or str(error)).partition(" (")[0]
            raise CannotListen(
                f"cannot listen on {host_and_port(host, port)}: {reason}; choose another with {flag}"
            ) from error
        endpoint.start()
        self._endpoints.append(endpoint)
        return endpoint.port
