"""Traces and logs of a running server: timelines of sampled requests, settings that are effective at once."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_server.errors import SettingsError
from sardonyx_server.observe import logs
from sardonyx_server.observe.trace_file import FILE_NAME
from sardonyx_wire.messages import LogSettingsRequest, TraceSettingRequest
from tests.e2e.messages import failure_of, gate_request, infer_request
from tests.e2e.models import repository, write
from tests.e2e.servers import SHORT_S, TRANSPORTS, Server, eventually
from tests.server.observe.collector import PATIENCE_S, collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

X = np.ones((1, 4), np.float32)
STAGES = ["RECEIVED", "QUEUED", "BATCHED", "RUN_START", "RUN_END", "SENT"]
CLEARED: dict[str, list[str]] = {"trace_level": [], "trace_rate": [], "trace_count": [], "log_frequency": []}
ALL = {"trace_level": ["TIMESTAMPS"], "trace_rate": ["1"]}


class Traced:
    """A server that may trace, and the file it writes to."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self._file = folder / FILE_NAME
        self._seen = 0

    def set(self, model: str = "", /, **settings: list[str]) -> dict[str, str]:
        """Change settings, or none, and read all."""
        request = TraceSettingRequest(model_name=model)
        for name, values in settings.items():
            request.settings[name].value.extend(values)
        answer = self.server.call("TraceSetting", request)
        return {name: value.value[0] for name, value in answer.settings.items()}

    def infer(self, count: int = 1, model: str = "affine") -> None:
        """Good requests, one after the other, with the ids 0, 1, ..."""
        x = X if model == "affine" else X[:, :3]
        for number in range(count):
            self.server.infer(infer_request(model, request_id=str(number), x=x))

    def lines(self, count: int) -> list[dict[str, Any]]:
        """The next so many lines of the file; no more may come by then."""

        def read() -> list[str]:
            # What is behind the last end of a line is still being written.
            return self._file.read_text("utf-8").split("\n")[self._seen : -1]

        eventually(lambda: len(read()) >= count, f"{count} lines")
        fresh = read()
        self._seen += len(fresh)
        assert len(fresh) == count
        return [json.loads(line) for line in fresh]


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is quick, one that is held, and another one."""
    names = {"affine", "gate", "identity_fp32"}
    return write((folder for folder in repository() if folder.name in names), tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module", params=TRANSPORTS)
def running(
    request: pytest.FixtureRequest, two_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Traced]:
    """A server whose callers may turn tracing on."""
    folder = tmp_path_factory.mktemp("traces")
    with Server(two_models, request.param, trace_dir=folder, allow_admin=True) as server:
        yield Traced(server, folder)


@pytest.fixture
def traced(running: Traced) -> Iterator[Traced]:
    """The same; all settings are as at start before and after."""
    yield running
    for model in ("affine", "gate", "identity_fp32", ""):
        running.set(model, **CLEARED)
    running.server.settle()


def test_a_timeline_has_its_stages_in_order(traced: Traced) -> None:
    """And says whose it is."""
    traced.set(**ALL)
    answer = traced.server.infer(infer_request("affine", request_id="my id", x=np.ones((3, 4), np.float32)))
    (line,) = traced.lines(1)
    assert [stage["stage"] for stage in line["stages"]] == STAGES
    moments = [stage["monotonic_ns"] for stage in line["stages"]]
    assert moments == sorted(moments)
    assert line["stages"][2]["batch_rows"] == 3
    assert (line["model"], str(line["version"])) == ("affine", answer.model_version)
    assert (line["request_id"], line["rows"], line["outcome"]) == ("my id", 3, "OK")
    assert line["transport"] == traced.server.transport
    assert line["began_unix_ns"] > 1_700_000_000 * 10**9


def test_members_of_a_batch_share_its_moments(traced: Traced) -> None:
    """Three requests that wait for the same runner."""
    with traced.server.holding(gate_request()):
        traced.set("gate", **ALL)
        calls = [traced.server.start_infer(gate_request(request_id=str(number))) for number in range(3)]
        eventually(lambda: traced.server.model("gate").queue.rows == 3, "three rows wait")
    for call in calls:
        call.result()
    lines = traced.lines(3)
    assert {line["request_id"] for line in lines} == {"0", "1", "2"}
    for position in (2, 3, 4):
        assert len({json.dumps(line["stages"][position]) for line in lines}) == 1
    assert lines[0]["stages"][2]["batch_rows"] == 3
    assert all(line["rows"] == 1 for line in lines)


def test_a_models_own_setting_wins_over_the_servers(traced: Traced) -> None:
    """Until it is cleared."""
    traced.set(**ALL)
    assert traced.set("affine", trace_rate=["3"])["trace_rate"] == "3"
    traced.infer(6)
    traced.infer(2, "identity_fp32")
    assert [(line["model"], line["request_id"]) for line in traced.lines(4)] == [
        ("affine", "2"),
        ("affine", "5"),
        ("identity_fp32", "0"),
        ("identity_fp32", "1"),
    ]
    assert traced.set("affine", trace_rate=[])["trace_rate"] == "1"
    traced.infer(1)
    assert traced.lines(1)[0]["model"] == "affine"


def test_a_count_bounds_the_traces(traced: Traced) -> None:
    """What is left of it can be read."""
    assert traced.set(**ALL, trace_count=["3"])["trace_count"] == "3"
    traced.infer(2)
    assert traced.set()["trace_count"] == "1"
    traced.infer(4)
    assert traced.set()["trace_count"] == "0"
    assert [line["request_id"] for line in traced.lines(3)] == ["0", "1", "0"]


def test_tracing_that_is_turned_off_is_off_at_once(traced: Traced) -> None:
    """The next request leaves nothing."""
    traced.set(**ALL)
    traced.infer(1)
    traced.set(trace_level=["OFF"])
    traced.infer(5)
    traced.set(trace_level=["TIMESTAMPS"])
    traced.infer(1)
    assert len(traced.lines(2)) == 2


def test_lines_are_held_back_as_the_log_frequency_says(traced: Traced) -> None:
    """And go together."""
    traced.set(**ALL, log_frequency=["3"])
    traced.infer(2)
    traced.lines(0)
    traced.infer(1)
    assert len(traced.lines(3)) == 3


def test_a_request_that_fails_ends_its_trace(traced: Traced) -> None:
    """Refused, given up in the queue, failed by the model."""
    server = traced.server
    traced.set(**ALL)
    server.refusal(infer_request("affine", request_id="refused", outputs=["nothing"], x=X))
    (line,) = traced.lines(1)
    assert (line["request_id"], line["outcome"]) == ("refused", "INVALID_REQUEST")
    assert [stage["stage"] for stage in line["stages"]] == ["RECEIVED", "SENT"]
    server.refusal(gate_request(index=99, request_id="guilty"))
    (line,) = traced.lines(1)
    assert (line["request_id"], line["outcome"]) == ("guilty", "EXECUTION_FAILED")
    traced.set("gate", trace_level=["OFF"])
    with server.holding(gate_request()):
        traced.set("gate", trace_level=["TIMESTAMPS"])
        late = server.start_infer(gate_request(request_id="late"), timeout=SHORT_S)
        assert late.exception().code() is grpc.StatusCode.DEADLINE_EXCEEDED
    (line,) = traced.lines(1)
    assert (line["request_id"], line["outcome"]) in {("late", "DEADLINE_EXCEEDED"), ("late", "CANCELLED")}
    assert [stage["stage"] for stage in line["stages"]] == ["RECEIVED", "QUEUED", "SENT"]


def test_an_id_of_a_caller_is_one_short_text(traced: Traced) -> None:
    """Whatever is in it."""
    traced.set(**ALL)
    traced.server.infer(infer_request("affine", request_id='\x1b[2J"}\n' + "x" * 100_000, x=X))
    (line,) = traced.lines(1)
    assert line["request_id"].startswith('\\x1b[2J"}\\nxxx')
    assert len(line["request_id"]) == 128


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_settings_at_start_are_effective_and_what_is_held_back_is_written_at_the_end(
    two_models: Path, tmp_path: Path, transport: str
) -> None:
    """--trace-rate 2."""
    with Server(two_models, transport, trace_dir=tmp_path, trace_rate=2, allow_admin=True) as server:
        traced = Traced(server, tmp_path)
        assert traced.set()["trace_level"] == "TIMESTAMPS"
        assert traced.set(log_frequency=["100"])["trace_rate"] == "2"
        traced.infer(6)
        assert traced.lines(0) == []
        server.stop(PATIENCE_S)
        assert [line["request_id"] for line in traced.lines(3)] == ["1", "3", "5"]


def test_callers_may_read_and_not_change_unless_the_operator_allows_it(two_models: Path) -> None:
    """The message names the flag."""
    with Server(two_models, "lane") as server:
        assert server.call("TraceSetting").settings["trace_level"].value == ["OFF"]
        assert server.call("LogSettings").settings["log_error"].bool_param
        trace, log = TraceSettingRequest(), LogSettingsRequest()
        trace.settings["trace_rate"].value.append("1")
        log.settings["log_error"].bool_param = False
        for rpc, message in (("TraceSetting", trace), ("LogSettings", log)):
            with pytest.raises(grpc.RpcError) as caught:
                server.call(rpc, message)
            failure = failure_of(caught.value)
            assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "ADMIN_NOT_ALLOWED")
            assert "--allow-admin" in failure.message
        server.assert_well()
        assert {"logging", "trace"} <= set(server.call("ServerMetadata").extensions)


def test_a_folder_that_is_not_there_ends_the_start(two_models: Path, tmp_path: Path) -> None:
    """Before anything is served."""
    with pytest.raises(SettingsError, match=r"^trace_dir: cannot write 'traces.jsonl' in "):
        Server(two_models, "lane", trace_dir=tmp_path / "none")


@pytest.fixture
def log(log_as_before: None) -> io.StringIO:  # what it configures is undone
    """The log of this process, as a server on its own would write it."""
    out = io.StringIO()
    logs.configure(log_format="json", level="info", stream=out)
    return out


def test_a_change_of_the_log_is_visible_in_the_next_line(traced: Traced, log: io.StringIO) -> None:
    """Off and on again, while the server runs."""
    server = traced.server
    own = logging.getLogger("sardonyx.test")

    def switch(**settings: bool | int) -> dict[str, Any]:
        request: Any = LogSettingsRequest()
        for name, value in settings.items():
            arm = "bool_param" if isinstance(value, bool) else "uint32_param"
            setattr(request.settings[name], arm, value)
        answer = server.call("LogSettings", request)
        return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in answer.settings.items()}

    def logged() -> list[str]:
        """Levels of what the server and this test logged since the last time: an error, and a line of each level."""
        log.seek(0)
        log.truncate()
        server.gate.fail("affine", RuntimeError("no"))
        assert server.refusal(infer_request("affine", x=X)).code is grpc.StatusCode.INTERNAL
        own.info("an event")
        own.debug("a detail")
        return [json.loads(line)["level"] for line in log.getvalue().splitlines()]

    at_start = logged()
    assert set(at_start) == {"error", "info"}
    told = switch(log_error=False)
    assert told == {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": False,
        "log_verbose_level": 0,
        "log_format": "json",
    }
    assert logged() == ["info"]
    switch(log_info=False, log_verbose_level=1)
    assert logged() == ["debug"]
    switch(log_info=True, log_error=True, log_verbose_level=0)
    assert logged() == at_start


def test_tritonclient_reads_and_changes_both(traced: Traced, log: io.StringIO) -> None:
    """Its four methods, with lists, texts and None."""
    triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
    utilities: Any = pytest.importorskip("tritonclient.utils")
    with triton.InferenceServerClient(traced.server.app.address) as client:
        settings = {"trace_level": ["TIMESTAMPS"], "trace_rate": "2", "trace_count": "7", "log_frequency": "1"}
        changed = client.update_trace_settings(settings=settings, as_json=True)["settings"]
        assert changed["trace_rate"] == {"value": ["2"]}
        assert changed["trace_mode"] == {"value": ["triton"]}
        assert client.update_trace_settings("affine", {"trace_rate": "1"}).settings["trace_rate"].value == ["1"]
        assert client.get_trace_settings("affine").settings["trace_count"].value == ["7"]
        assert client.get_trace_settings(as_json=True)["settings"] == changed
        assert client.update_trace_settings("affine", {"trace_rate": None}).settings["trace_rate"].value == ["2"]
        cleared = client.update_trace_settings(settings=dict.fromkeys(settings))
        assert cleared.settings["trace_level"].value == ["OFF"]
        with pytest.raises(utilities.InferenceServerException, match="a caller cannot choose where traces go"):
            client.update_trace_settings(settings={"trace_file": "/tmp/x"})  # noqa: S108  # never opened
        before = client.get_log_settings(as_json=True)["settings"]
        assert before["log_verbose_level"] == {"uint32_param": 0}
        log_settings = {"log_info": False, "log_warning": True, "log_verbose_level": 1, "log_format": "default"}
        after = client.update_log_settings(log_settings)
        assert not after.settings["log_info"].bool_param
        assert after.settings["log_verbose_level"].uint32_param == 1
        with pytest.raises(utilities.InferenceServerException, match="a caller cannot choose where the log goes"):
            client.update_log_settings({"log_file": "/tmp/x"})  # noqa: S108  # never opened


TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_caller_with_a_trace_of_its_own_finds_the_request_in_it(two_models: Path, transport: str) -> None:
    """At the collector; the caller's sampled flag decides, and without one the rate does."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason="the extra otel is missing")
    with collector() as (endpoint, sent):
        settings: dict[str, Any] = {"trace_otlp_endpoint": endpoint, "trace_rate": 1_000_000, "server_name": "named"}
        with Server(two_models, transport, **settings) as server:
            assert server.call("TraceSetting").settings["trace_mode"].value == ["opentelemetry"]
            for request_id, flag in (("kept", "01"), ("left", "00")):
                header = ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-{flag}")
                server.infer(infer_request("affine", request_id=request_id, x=X), metadata=(header,))
            server.infer(infer_request("affine", request_id="rated", x=X))
            assert server.stop(PATIENCE_S)
        path, message = sent.get(timeout=PATIENCE_S)
        assert sent.empty()
    (span,) = message.resource_spans[0].scope_spans[0].spans
    attributes = {item.key: item.value for item in span.attributes}
    assert path == "/v1/traces"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert [event.name for event in span.events] == STAGES
    assert attributes["sardonyx.request_id"].string_value == "kept"
    assert attributes["sardonyx.transport"].string_value == transport


def test_a_collector_that_is_not_there_costs_no_request(two_models: Path) -> None:
    """Nor does it hold up the end for long."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason="the extra otel is missing")
    with Server(two_models, "lane", trace_otlp_endpoint="http://127.0.0.1:9", trace_rate=1) as server:
        for _ in range(20):
            server.infer(infer_request("affine", x=X))
        server.assert_well()
        assert server.stop(1.0)


def test_a_collector_that_is_silent_does_not_hold_up_the_end(two_models: Path) -> None:
    """The server goes without the spans that wait, before its own time and the 10 s of the exporter are up."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason="the extra otel is missing")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Server(two_models, "lane", trace_otlp_endpoint=endpoint, trace_rate=1) as server:
            server.infer(infer_request("affine", x=X))
            ended: SimpleQueue[bool] = SimpleQueue()
            threading.Thread(target=lambda: ended.put(server.stop(100 * PATIENCE_S)), daemon=True).start()
            assert ended.get(timeout=9.0)
