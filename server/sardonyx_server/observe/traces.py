"""Keeps the traces that have ended: a thread takes them to a file (trace_file.py), and to a collector (otel.py)."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.observe.trace_file import TraceFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sardonyx_server.engine.counting.tracing import Trace

__all__ = ["Outlet", "TraceWriter", "writer"]

_LOG = logging.getLogger("sardonyx.traces")

# Traces that wait for the writer. Some 2 KiB each; what comes beyond that is dropped.
_MAX_WAITING: Final = 4096
# How long the writer leaves traces to gather: to wake it takes the interpreter from those who serve, so not for each.
_GATHER_S: Final = 0.1
# And where they come faster than that: ten times a second took 1 to 2 % of the throughput of a small model of which one
# request in 1,000 was traced (2026-11-26).
_GATHER_MORE_S: Final = 1.0


class Outlet(Protocol):
    """Where the writer's thread takes traces to."""

    def take(self, traces: Sequence[Trace]) -> None:
        """Keep them. May block."""

    def close(self) -> None:
        """Write what is held back, and end."""


class TraceWriter:
    """A :class:`~sardonyx_server.engine.counting.tracing.TraceSink` with a thread of its own.

    Args:
        outlets: Each gets every trace.
        max_waiting: Traces that may wait for the thread. With a quarter of them it begins.
        gather_s: How long it leaves traces to gather behind the first.
        gather_more_s: And where it had several the last time.
    """

    def __init__(
        self,
        outlets: Sequence[Outlet],
        *,
        max_waiting: int = _MAX_WAITING,
        gather_s: float = _GATHER_S,
        gather_more_s: float = _GATHER_MORE_S,
    ) -> None:
        self._outlets = tuple(outlets)
        self._max_waiting = max_waiting
        self._gather_s = gather_s
        self._gather_more_s = gather_more_s
        self._queue: SimpleQueue[Trace | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._lock = threading.Lock()
        # Not to leave traces to gather any longer: there are many, or there will be no more.
        self._many = max(1, max_waiting // 4)
        self._due = threading.Event()
        self._told = 0
        self.dropped = 0
        """Traces that came faster than they were written."""

    def put(self, trace: Trace) -> None:
        """Take a trace to be written, or count it as dropped. Any thread; never blocks."""
        waiting = self._queue.qsize()
        if waiting < self._max_waiting:
            self._queue.put(trace)
            if waiting >= self._many and not self._due.is_set():
                self._due.set()
            return
        with self._lock:
            self.dropped += 1

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Write what waits and end. Blocks. Does nothing where the thread was not started.

        Returns:
            Whether all was written in time.
        """
        if self._thread.ident is None:
            return True
        self._queue.put(None)
        self._due.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        more = True
        gather_s = self._gather_s
        while more:
            waiting = [self._queue.get()]
            self._due.wait(gather_s)
            self._due.clear()
            while not self._queue.empty():
                waiting.append(self._queue.get())
            more = None not in waiting
            traces = [trace for trace in waiting if trace is not None]
            for outlet in self._outlets:
                try:
                    outlet.take(traces)
                except Exception:  # noqa: BLE001  # the next traces may be kept again
                    _LOG.exception("bug: traces were not kept")
            gather_s = self._gather_s if len(traces) <= 1 else self._gather_more_s
            if self._queue.empty():
                self._tell_dropped()
        self._tell_dropped()
        for outlet in self._outlets:
            try:
                outlet.close()
            except Exception:  # noqa: BLE001  # the others still have theirs to write
                _LOG.exception("bug: traces were not written to their end")

    def _tell_dropped(self) -> None:
        if self.dropped > self._told:
            _LOG.warning("traces were dropped: sample fewer requests", extra={"dropped": self.dropped - self._told})
            self._told = self.dropped


def writer(
    *, trace_dir: Path | None, otlp_endpoint: str | None, service_name: str, service_version: str
) -> TraceWriter:
    """What keeps traces where the operator wants them; not started.

    Raises:
        SettingsError: The folder cannot be written to, or the extra ``otel`` is needed and missing.
    """
    outlets: list[Outlet] = []
    if otlp_endpoint is not None:
        # Imported late, as OpenTelemetry itself is: few servers have it.
        from sardonyx_server.observe.otel import Spans, otlp_exporter

        exporter = otlp_exporter(otlp_endpoint)
        outlets.append(Spans(exporter, service_name=service_name, service_version=service_version))
    if trace_dir is not None:
        outlets.append(TraceFile(trace_dir))
    return TraceWriter(outlets)
