"""Exports finished traces on a background thread: to a file (trace_file.py) and to a collector (otel.py)."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.observe.trace_file import FileExporter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sardonyx_server.engine.telemetry.tracing import Trace

__all__ = ["TraceExporter", "TraceWriter", "make_trace_writer"]

_LOG = logging.getLogger("sardonyx.traces")

# Limit of queued traces, about 2 KiB each; further ones are dropped.
_MAX_WAITING: Final = 4096
# How long the writer collects traces before it wakes: each wake-up takes the GIL from the serving threads.
_GATHER_S: Final = 0.1
# The same at higher rates of traces: waking ten times a second cost 1 to 2 % of the throughput of a small model with
# one in 1,000 requests traced (2026-11-26).
_GATHER_MORE_S: Final = 1.0


class TraceExporter(Protocol):
    """Destination of traces; called by the writer's thread."""

    def export(self, traces: Sequence[Trace]) -> None:
        """Write or send traces. May block."""

    def close(self) -> None:
        """Write or send what is pending, and close."""


class TraceWriter:
    """A :class:`~sardonyx_server.engine.telemetry.tracing.TraceSink` with its own thread.

    Args:
        exporters: Each gets every trace.
        max_waiting: Limit of queued traces. At a quarter of it the thread starts at once.
        gather_s: How long to collect traces after the first one.
        gather_more_s: The same if the last batch had several traces.
    """

    def __init__(
        self,
        exporters: Sequence[TraceExporter],
        *,
        max_waiting: int = _MAX_WAITING,
        gather_s: float = _GATHER_S,
        gather_more_s: float = _GATHER_MORE_S,
    ) -> None:
        self._exporters = tuple(exporters)
        self._max_waiting = max_waiting
        self._gather_s = gather_s
        self._gather_more_s = gather_more_s
        self._queue: SimpleQueue[Trace | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._lock = threading.Lock()
        # Set to end the collecting early: many traces are queued, or the writer is to stop.
        self._flush_threshold = max(1, max_waiting // 4)
        self._wake = threading.Event()
        self._reported_dropped = 0
        self.dropped = 0
        """Number of traces dropped because the queue was full."""

    def put(self, trace: Trace) -> None:
        """Queue a trace, or count it as dropped. Callable from any thread; never blocks."""
        waiting = self._queue.qsize()
        if waiting < self._max_waiting:
            self._queue.put(trace)
            if waiting >= self._flush_threshold and not self._wake.is_set():
                self._wake.set()
            return
        with self._lock:
            self.dropped += 1

    def start(self) -> None:
        """Start the thread. Call once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Export queued traces and stop. Blocks. Does nothing if the thread was not started.

        Returns:
            Whether all were exported in time.
        """
        if self._thread.ident is None:
            return True
        self._queue.put(None)
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        more = True
        gather_s = self._gather_s
        while more:
            waiting = [self._queue.get()]
            self._wake.wait(gather_s)
            self._wake.clear()
            while not self._queue.empty():
                waiting.append(self._queue.get())
            more = None not in waiting
            traces = [trace for trace in waiting if trace is not None]
            for exporter in self._exporters:
                try:
                    exporter.export(traces)
                except Exception:  # noqa: BLE001  # later traces may still be exported
                    _LOG.exception("bug: traces were not exported")
            gather_s = self._gather_s if len(traces) <= 1 else self._gather_more_s
            if self._queue.empty():
                self._report_dropped()
        self._report_dropped()
        for exporter in self._exporters:
            try:
                exporter.close()
            except Exception:  # noqa: BLE001  # the others still have to flush
                _LOG.exception("bug: a trace exporter failed to close")

    def _report_dropped(self) -> None:
        if self.dropped > self._reported_dropped:
            _LOG.warning(
                "traces were dropped: sample fewer requests", extra={"dropped": self.dropped - self._reported_dropped}
            )
            self._reported_dropped = self.dropped


def make_trace_writer(
    *, trace_dir: Path | None, otlp_endpoint: str | None, service_name: str, service_version: str
) -> TraceWriter:
    """A trace writer for the operator's settings; not started.

    Raises:
        SettingsError: The folder cannot be written to, or the extra ``otel`` is required and missing.
    """
    exporters: list[TraceExporter] = []
    if otlp_endpoint is not None:
        # Imported lazily, since few servers use OpenTelemetry.
        from sardonyx_server.observe.otel import OtelExporter, otlp_exporter

        exporter = otlp_exporter(otlp_endpoint)
        exporters.append(OtelExporter(exporter, service_name=service_name, service_version=service_version))
    if trace_dir is not None:
        exporters.append(FileExporter(trace_dir))
    return TraceWriter(exporters)
