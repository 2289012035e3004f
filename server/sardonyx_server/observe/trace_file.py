"""Writes traces to a file as JSON lines.

The file has a fixed name in the operator's folder and a bounded size: a full file is rotated to the one older file. If
the disk is full, lines are dropped and counted, and the server keeps serving.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sardonyx_server.engine.telemetry.tracing import Trace

__all__ = ["FILE_NAME", "MAX_FILE_BYTES", "FileExporter", "to_json_line"]

_LOG = logging.getLogger("sardonyx.traces")

FILE_NAME: Final = "traces.jsonl"
"""Name of the file; the rotated one has the suffix ``.1``."""

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""Size limit of one file, about 100,000 traces. There are at most two files."""

# Limit of lines held back by trace settings, of all models together.
_MAX_BUFFERED_LINES: Final = 10_000


class FileExporter:
    """Appends traces to a file in the operator's folder. A ``TraceExporter``; used by one thread.

    Args:
        folder: An existing folder.
        max_bytes: Size limit of one file.

    Raises:
        SettingsError: The file cannot be written.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._path = folder / FILE_NAME
        self._max_bytes = max_bytes
        self._buffered: dict[str, list[bytes]] = {}
        self._buffered_lines = 0
        self._dropped = 0
        try:
            self._file = _open_log(self._path)
        except OSError as error:
            raise SettingsError(
                f"trace_dir: cannot write {FILE_NAME!r} in {str(folder)!r}: {error.strerror}; name a folder that "
                "exists and is writable"
            ) from error

    def export(self, traces: Sequence[Trace]) -> None:
        """Write traces, or buffer them until their model has as many as its trace settings require."""
        is_due = False
        for trace in traces:
            buffered = self._buffered.setdefault(trace.model, [])
            buffered.append(to_json_line(trace))
            self._buffered_lines += 1
            is_due = is_due or len(buffered) >= trace.group or self._buffered_lines >= _MAX_BUFFERED_LINES
        if is_due:
            self._write_buffered()

    def close(self) -> None:
        """Write buffered traces and close the file."""
        self._write_buffered()
        os.close(self._file)

    def _write_buffered(self) -> None:
        lines = [line for buffered in self._buffered.values() for line in buffered]
        self._buffered.clear()
        self._buffered_lines = 0
        if not lines:
            return
        try:
            self._write(b"".join(lines))
        except OSError as error:
            if not self._dropped:
                _LOG.warning("traces cannot be written and are lost until they can", extra={"reason": error.strerror})
            self._dropped += len(lines)
        else:
            if self._dropped:
                _LOG.warning("traces are written again", extra={"lost": self._dropped})
            self._dropped = 0

    def _write(self, data: bytes) -> None:
        size = os.fstat(self._file).st_size
        if size and size + len(data) > self._max_bytes:
            self._path.replace(self._path.with_name(f"{FILE_NAME}.1"))
            fresh = _open_log(self._path)
            os.close(self._file)
            self._file, size = fresh, 0
        try:
            # On a full disk, part of the data is written before the error is raised.
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise


def to_json_line(trace: Trace) -> bytes:
    """A trace as one JSON line."""
    stages = [
        {"stage": mark.stage, "monotonic_ns": mark.at_ns}
        | ({} if mark.batch_rows is None else {"batch_rows": mark.batch_rows})
        for mark in trace.marks
    ]
    fields = {
        "model": trace.model,
        "version": trace.version or None,
        "request_id": trace.request_id,
        "rows": trace.rows or None,
        "transport": trace.transport,
        "outcome": trace.outcome,
        "traceparent": trace.parent.traceparent if trace.parent else None,
        "began_unix_ns": trace.began_unix_ns,
        "stages": stages,
    }
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _open_log(path: Path) -> int:
    # O_NOFOLLOW: otherwise anyone who can write to the folder could make the server append to any file.
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
