"""Traces become lines of a file that is bounded, and nothing that happens to it reaches a request."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_server.engine.telemetry.tracing import Parent
from sardonyx_server.errors import SettingsError
from sardonyx_server.observe import traces
from sardonyx_server.observe.trace_file import FILE_NAME, FileExporter, to_json_line
from sardonyx_server.observe.traces import TraceWriter
from tests.server.engine.traces import ended

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sardonyx_server.engine.telemetry.tracing import Trace

PATIENCE_S = 60.0
FULL = "/dev/full"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Kept:
    """An exporter that keeps traces, once it is let."""

    def __init__(self, *, fails: bool = False) -> None:
        self.taken: list[list[Trace]] = []
        self.closed = 0
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self._fails = fails

    def export(self, traces: Sequence[Trace]) -> None:
        """Keep them."""
        self.entered.set()
        assert self.go.wait(PATIENCE_S)
        if self._fails:
            raise RuntimeError("no")
        self.taken.append(list(traces))

    @property
    def traces(self) -> list[Trace]:
        """All of them."""
        return [trace for traces in self.taken for trace in traces]

    def close(self) -> None:
        """Count it."""
        self.closed += 1
        if self._fails:
            raise RuntimeError("no")


def lines(folder: Path, name: str = FILE_NAME) -> list[dict[str, Any]]:
    """What was written, each line by itself."""
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[FileExporter]:
    """A file that is open."""
    one = FileExporter(tmp_path)
    yield one
    one.close()


def test_a_line_tells_all_of_a_request() -> None:
    """Stages on the monotonic clock, the beginning on the wall clock."""
    line = to_json_line(ended(parent=Parent(TRACEPARENT, "a=1", sampled=True)))
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "model": "m",
        "version": 3,
        "request_id": "7",
        "rows": 2,
        "transport": "lane",
        "outcome": "OK",
        "traceparent": TRACEPARENT,
        "began_unix_ns": 5_000_000,
        "stages": [
            {"stage": "RECEIVED", "monotonic_ns": 1000},
            {"stage": "QUEUED", "monotonic_ns": 1010},
            {"stage": "BATCHED", "monotonic_ns": 1020, "batch_rows": 8},
            {"stage": "RUN_START", "monotonic_ns": 1030},
            {"stage": "RUN_END", "monotonic_ns": 1040},
            {"stage": "SENT", "monotonic_ns": 1050},
        ],
    }


def test_what_is_not_known_is_null() -> None:
    """Of a request that was refused before a version was found."""
    trace = ended(outcome="INVALID_REQUEST")
    trace.version = trace.rows = 0
    told = json.loads(to_json_line(trace))
    assert (told["version"], told["rows"], told["traceparent"]) == (None, None, None)


def test_an_id_cannot_begin_a_line_of_its_own() -> None:
    """Whatever a caller puts into it."""
    assert to_json_line(ended(request_id='x\n{"model": "other"}\u2028')).count(b"\n") == 1


def test_lines_are_appended_at_once_and_after_what_is_there(tmp_path: Path) -> None:
    """A restart of the server goes on in the same file."""
    for model in ("first", "second"):
        one = FileExporter(tmp_path)
        one.export([ended(model=model)])
        assert [line["model"] for line in lines(tmp_path)][-1] == model
        one.close()
    assert len(lines(tmp_path)) == 2
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_lines_are_held_back_until_a_model_has_as_many_as_its_settings_say(file: FileExporter, tmp_path: Path) -> None:
    """``log_frequency``."""
    for number in range(5):
        file.export([ended(request_id=str(number), group=3)])
        assert len(lines(tmp_path)) == (number + 1) // 3 * 3
    file.export([ended(model="other")])
    assert len(lines(tmp_path)) == 6


def test_what_is_held_back_is_written_at_the_end(tmp_path: Path) -> None:
    """And never more than a bound is held."""
    one = FileExporter(tmp_path)
    one.export([ended(group=10**9)])
    assert not lines(tmp_path)
    one.close()
    assert len(lines(tmp_path)) == 1


def test_a_full_file_becomes_the_older_one(tmp_path: Path) -> None:
    """There are two at most, of the given size at most."""
    size = len(to_json_line(ended()))
    one = FileExporter(tmp_path, max_bytes=3 * size)
    for number in range(8):
        one.export([ended(request_id=str(number))])
    one.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME, f"{FILE_NAME}.1"]
    assert [line["request_id"] for line in lines(tmp_path, f"{FILE_NAME}.1")] == ["3", "4", "5"]
    assert [line["request_id"] for line in lines(tmp_path)] == ["6", "7"]


def test_a_full_disk_costs_lines_and_nothing_else(
    file: FileExporter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once when it begins and once when it is over."""
    real, file._file = file._file, os.open(FULL, os.O_WRONLY)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            file.export([ended()])
        os.close(file._file)
        file._file = real
        file.export([ended(model="after")])
    assert [line["model"] for line in lines(tmp_path)] == ["after"]
    events = [
        (record.getMessage(), record.__dict__.get("reason"), record.__dict__.get("lost")) for record in caplog.records
    ]
    assert events == [
        ("traces cannot be written and are lost until they can", os.strerror(errno.ENOSPC), None),
        ("traces are written again", None, 3),
    ]


def test_a_line_that_was_written_in_part_is_taken_back(tmp_path: Path) -> None:
    """The file holds whole lines only: here the size of files is what runs out."""
    import resource  # of Unix
    import signal

    one = FileExporter(tmp_path)
    one.export([ended()])
    size = (tmp_path / FILE_NAME).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        one.export([ended(model="cut")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / FILE_NAME).stat().st_size == size
    one.export([ended(model="whole")])
    one.close()
    assert [line["model"] for line in lines(tmp_path)] == ["m", "whole"]


def test_a_folder_that_cannot_be_written_is_the_operators_to_mend(tmp_path: Path) -> None:
    """At start, not with the first trace."""
    with pytest.raises(SettingsError) as caught:
        FileExporter(tmp_path / "none")
    assert caught.value.message == (
        f"trace_dir: cannot write 'traces.jsonl' in {str(tmp_path / 'none')!r}: No such file or directory; name a "
        "folder that exists and is writable"
    )


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    """It could lead to any file that the server may write."""
    (tmp_path / "victim").touch()
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(SettingsError, match="cannot write"):
        FileExporter(tmp_path)


def test_every_outlet_gets_every_trace_and_is_closed() -> None:
    """One that fails does not keep the others from theirs."""
    broken, kept = Kept(fails=True), Kept()
    writer = TraceWriter((broken, kept))
    writer.start()
    sent = [ended(), ended()]
    for trace in sent:
        writer.put(trace)
    assert writer.stop(PATIENCE_S)
    assert kept.traces == sent
    assert (broken.closed, kept.closed, writer.dropped) == (1, 1, 0)


def test_many_are_written_without_waiting_for_more() -> None:
    """A quarter of what may wait: the first one alone would be left for hours here."""
    kept = Kept()
    writer = TraceWriter((kept,), max_waiting=8, gather_s=3600.0)
    writer.start()
    sent = [ended(), ended(), ended(), ended()]
    for trace in sent:
        writer.put(trace)
    assert kept.entered.wait(PATIENCE_S)
    assert writer.stop(PATIENCE_S)
    assert kept.traces == sent


def test_once_several_were_taken_together_the_next_are_left_to_gather() -> None:
    """Here until the end. Those that come one by one are written soon."""
    kept = Kept()
    kept.go.clear()
    writer = TraceWriter((kept,), gather_s=0.0, gather_more_s=3600.0)
    writer.start()
    first, *others = [ended() for _ in range(6)]
    writer.put(first)
    assert kept.entered.wait(PATIENCE_S)
    kept.entered.clear()
    for trace in others[:2]:
        writer.put(trace)
    kept.go.set()
    assert kept.entered.wait(PATIENCE_S)
    for trace in others[2:]:
        writer.put(trace)
    assert writer.stop(PATIENCE_S)
    assert kept.taken == [[first], others[:2], others[2:]]


def test_what_comes_too_fast_is_dropped_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """A request never waits for a disk."""
    slow = Kept()
    slow.go.clear()
    writer = TraceWriter((slow,), max_waiting=2)
    writer.start()
    writer.put(ended())
    assert slow.entered.wait(PATIENCE_S)
    for _ in range(5):
        writer.put(ended())
    assert writer.dropped == 3
    with caplog.at_level(logging.WARNING):
        slow.go.set()
        assert writer.stop(PATIENCE_S)
    assert len(slow.traces) == 3
    assert [record.__dict__.get("dropped") for record in caplog.records if "dropped" in record.getMessage()] == [3]


def test_a_writer_that_hangs_does_not_hold_up_the_end() -> None:
    """Its thread is a daemon."""
    stuck = Kept()
    stuck.go.clear()
    writer = TraceWriter((stuck,))
    writer.start()
    writer.put(ended())
    assert stuck.entered.wait(PATIENCE_S)
    assert not writer.stop(0.01)
    stuck.go.set()


def test_a_writer_that_was_never_started_stops() -> None:
    """A server that did not come so far."""
    assert TraceWriter(()).stop(0.0)


def test_a_folder_is_an_outlet_and_nothing_is_none(tmp_path: Path) -> None:
    """As the operator's settings say."""
    names: dict[str, Any] = {"service_name": "s", "service_version": "1"}
    one = traces.make_trace_writer(trace_dir=tmp_path, otlp_endpoint=None, **names)
    one.start()
    one.put(ended())
    assert one.stop(PATIENCE_S)
    assert len(lines(tmp_path)) == 1
    traces.make_trace_writer(trace_dir=None, otlp_endpoint=None, **names)
