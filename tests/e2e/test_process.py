"""``sardonyx serve`` as its users start it: a process of its own, its log, its signals, its exit codes."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import grpc
import numpy as np
import pytest

from sardonyx_wire.messages import ModelInferResponse
from tests.e2e.messages import arrays_of, encoded, gate_request, infer_request
from tests.e2e.models import ENDLESS
from tests.e2e.servers import INFER, TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOUND_S = 60.0
COMMAND = [sys.executable, "-m", "sardonyx_server.cli", "serve"]
QUICK = ["--grpc-port", "0", "--metrics-port", "0", "--probe-budget-s", "0.05"]


class Process:
    """A server as a process, and the events of its log."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.lines: list[str] = []
        self._errors = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line)
            self._events.put(json.loads(line))

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next event with this text; every line until then must be JSON too."""
        while True:
            found = self._events.get(timeout=BOUND_S)
            if found["event"] == event:
                return found

    @contextmanager
    def killed_on_failure(self) -> Iterator[None]:
        """So that callers who wait for its end do not wait for ever."""
        try:
            yield
        except BaseException:
            self.popen.kill()
            raise

    def errors(self) -> str:
        """What it wrote to standard error. Requires: it has ended."""
        assert self.popen.stderr is not None
        if not self._errors:
            self._errors = self.popen.stderr.read()
        return self._errors

    def exit_code(self) -> int:
        """How it ended; waits for it."""
        code = self.popen.wait(BOUND_S)
        self._reader.join(BOUND_S)
        return code


@contextmanager
def serving(*arguments: str) -> Iterator[Process]:
    """Start a process; it is gone afterwards."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as popen:
        try:
            yield Process(popen)
        finally:
            popen.kill()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_sigterm_under_load_answers_all_that_was_accepted_and_exits_0(models: Path, transport: str) -> None:
    """Six callers that never pause, and a slow run that is under way when the signal comes."""
    x = np.ones((1, 4), np.float32)
    request = encoded(infer_request("affine", x=x))
    expected = (-2 * x + 0.25)[0, 1]
    with serving(str(models), *QUICK, "--transport", transport, "--exit-timeout-secs", "15") as process:
        address = process.wait_for("serving")["address"]
        warm = threading.Barrier(7)

        def caller(_number: int) -> grpc.StatusCode:
            with grpc.insecure_channel(address) as channel:
                call: Any = channel.unary_unary(INFER)
                for answered in range(10_000_000):
                    if answered == 20:
                        warm.wait(BOUND_S)
                    try:
                        answer = call(request, timeout=BOUND_S)
                    except grpc.RpcError as error:
                        failure: Any = error
                        return failure.code()  # type: ignore[no-any-return]
                    assert arrays_of(ModelInferResponse.FromString(answer))["y"][0, 1] == expected
            raise AssertionError("unreachable")

        with ThreadPoolExecutor(6) as threads, process.killed_on_failure(), grpc.insecure_channel(address) as channel:
            ends = [threads.submit(caller, number) for number in range(6)]
            warm.wait(BOUND_S)
            infer: Any = channel.unary_unary(INFER)
            slow = [infer.future(encoded(gate_request([[k, k]], trips=50_000)), timeout=BOUND_S) for k in range(3)]
            # The answer to a later call on the same connection: the slow ones have been read from the socket.
            infer(request, timeout=BOUND_S)
            process.popen.send_signal(signal.SIGTERM)
            stopped = process.wait_for("stopped")
            for k, call in enumerate(slow):
                y = arrays_of(ModelInferResponse.FromString(call.result()))["y"]
                np.testing.assert_array_equal(y, [[k + 0.5, k + 0.5]])
            codes = {end.result() for end in ends}
        assert stopped["finished"] is True
        assert process.exit_code() == 0, process.errors()
        assert process.errors() == ""
    assert codes <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_each_line_of_the_log_is_one_json_object(models: Path) -> None:
    """For service managers: an event, a time, a level; the models, the address."""
    with serving(str(models), *QUICK) as process:
        event = process.wait_for("serving")
        process.popen.send_signal(signal.SIGTERM)
        assert process.exit_code() == 0
        events = [json.loads(line) for line in process.lines]
    assert events[0]["event"] == "starting"
    assert events[0]["repository"] == [str(models)]
    assert events[0]["transport"] in {"lane", "grpcio"}
    assert event["address"].startswith("127.0.0.1:")
    assert "affine" in event["models_ready"]
    assert event["models_failed"] == []
    assert [one["event"] for one in events[-2:]] == ["stopping", "stopped"]
    assert {one["event"] for one in events} >= {"model ready", "serving"}
    assert all({"event", "level", "timestamp"} <= one.keys() for one in events)


def test_at_a_terminal_a_model_that_fails_is_told_of_once(tmp_path: Path) -> None:
    """By the table, not by a line of the log before it too."""
    for name, data in (("junk", b"no model"), ("nothing", b"")):
        version = tmp_path / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(data)
    done = run(str(tmp_path), "--log-format", "console", "--exit-on-error", "true", *QUICK)
    shown = " ".join(done.stdout.split())
    assert done.returncode == 3
    assert shown.count("is no ONNX model") == 1
    assert shown.count("is empty") == 1
    assert "[error" not in shown


def test_a_second_signal_hurries(models: Path) -> None:
    """A run that never ends does not hold the process."""
    with serving(str(models), *QUICK, "--exit-timeout-secs", "3600") as process:
        address = process.wait_for("serving")["address"]
        with grpc.insecure_channel(address) as channel:
            infer: Any = channel.unary_unary(INFER)
            endless = infer.future(encoded(gate_request(trips=ENDLESS)), timeout=BOUND_S)
            request = encoded(infer_request("affine", x=np.ones((1, 4), np.float32)))
            infer(request, timeout=BOUND_S)
            process.popen.send_signal(signal.SIGTERM)
            process.wait_for("stopping")
            process.popen.send_signal(signal.SIGINT)
            assert process.exit_code() == 0, process.errors()
            with pytest.raises(grpc.RpcError):
                endless.result()
    assert json.loads(process.lines[-1])["finished"] is False


def test_a_signal_while_models_load_stops_at_once(models: Path) -> None:
    """Before the server has said that it serves."""
    with serving(str(models), *QUICK) as process:
        process.wait_for("model ready")
        process.popen.send_signal(signal.SIGTERM)
        assert process.exit_code() == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A server that cannot start."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=BOUND_S, check=False)


def test_a_port_in_use_is_one_line_and_exit_code_4(models: Path) -> None:
    """Before any model is loaded."""
    with serving(str(models), *QUICK) as process:
        port = process.wait_for("serving")["address"].rpartition(":")[2]
        second = run(str(models), "--grpc-port", port)
        process.popen.send_signal(signal.SIGTERM)
        assert process.exit_code() == 0
    assert second.returncode == 4
    assert second.stdout == ""
    (line,) = second.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "--grpc-port" in line


def test_metrics_are_where_the_log_says(models: Path) -> None:
    """And are on unless they are turned off; the probes are beside them."""
    with serving(str(models), *QUICK) as process:
        url = process.wait_for("serving")["metrics"]
        assert url.startswith("http://127.0.0.1:")
        with urlopen(url, timeout=BOUND_S) as answer:  # noqa: S310  # our own server
            assert b'\nnv_inference_request_success{model="affine",version="1"} 0\n' in answer.read()
        with urlopen(url.replace("/metrics", "/readyz"), timeout=BOUND_S) as answer:  # noqa: S310  # likewise
            assert answer.status == 200
        process.popen.send_signal(signal.SIGTERM)
        assert process.exit_code() == 0, process.errors()
        assert process.errors() == ""
    with serving(str(models), *QUICK, "--metrics-port", "off") as process:
        assert process.wait_for("serving")["metrics"] == ""
        process.popen.send_signal(signal.SIGTERM)
        assert process.exit_code() == 0


def test_a_second_server_with_another_grpc_port_is_told_of_the_metrics_port(models: Path) -> None:
    """Both have 8002 by default."""
    with serving(str(models), *QUICK) as process:
        port = process.wait_for("serving")["metrics"].rpartition(":")[2].partition("/")[0]
        second = run(str(models), "--grpc-port", "0", "--metrics-port", port)
        process.popen.send_signal(signal.SIGTERM)
        assert process.exit_code() == 0
    assert (second.returncode, second.stdout) == (4, "")
    assert second.stderr == (
        f"sardonyx: cannot listen on 127.0.0.1:{port}: the port is in use; stop the program that uses it or choose "
        "another with --metrics-port (or 'off')\n"
    )


def test_a_missing_folder_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """No traceback."""
    missing = run(str(tmp_path / "nowhere"))
    assert missing.returncode == 2
    assert missing.stdout == ""
    (line,) = missing.stderr.splitlines()
    assert str(tmp_path / "nowhere") in line
