"""docs/tracing.md, held against a running server."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_client import Client
from sardonyx_server.app import App
from sardonyx_server.engine.telemetry.tracing import Stage
from sardonyx_server.observe.trace_file import FILE_NAME, MAX_FILE_BYTES
from sardonyx_server.settings import MIB, Settings
from sardonyx_wire.messages import METHODS, LogSettingsResponse, TraceSettingResponse
from tests.docs.documents import DOCS, ROOT, blocks, code_spans
from tests.e2e.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = next(path for path in DOCS if path.name == "tracing.md")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The page's server, tracing every request: its address and its file."""
    app = App(
        Settings(
            model_repository=(ROOT / "models",),
            grpc_port=0,
            metrics_port=None,
            probe_budget_s=0.0,
            trace_dir=tmp_path,
            trace_rate=1,
            allow_admin=True,
        )
    )
    app.start()
    yield app.address, tmp_path / FILE_NAME
    assert app.drain_and_stop(5.0)


def test_the_line_of_the_page_has_the_form_of_a_real_one(served: tuple[str, Path]) -> None:
    """Keys, their order, and types; stages and their order."""
    address, file = served
    with Client(address) as client:
        client.infer("iris", X=[[5.1, 3.5, 1.4, 0.2]])
    eventually(lambda: bool(file.read_text("utf-8")), "a line is written")
    real: dict[str, Any] = json.loads(file.read_text("utf-8").splitlines()[0])
    shown: dict[str, Any] = json.loads(blocks(PAGE, "json")[0].text)
    assert [(key, type(value)) for key, value in shown.items()] == [(key, type(value)) for key, value in real.items()]
    assert [(one["stage"], list(one)) for one in shown["stages"]] == [
        (one["stage"], list(one)) for one in real["stages"]
    ]
    moments = [stage["monotonic_ns"] for stage in shown["stages"]]
    assert moments == sorted(moments)


def test_the_example_with_tritonclient_runs(served: tuple[str, Path]) -> None:
    """As it stands, but for the address."""
    pytest.importorskip("tritonclient.grpc")
    code = blocks(PAGE, "python")[0].text
    assert "127.0.0.1:8001" in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace("127.0.0.1:8001", served[0])],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "['100']\n"), done.stderr


def test_the_list_of_the_slowest_requests_can_be_made(served: tuple[str, Path]) -> None:
    """The page's command, on the file of this server."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    address, file = served
    with Client(address) as client:
        client.infer("iris", X=[[5.1, 3.5, 1.4, 0.2]])
    eventually(lambda: bool(file.read_text("utf-8")), "a line is written")
    command = next(block.text for block in blocks(PAGE, "sh") if "jq" in block.text)
    assert "traces/traces.jsonl" in command
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("traces/traces.jsonl", shlex.quote(str(file)))],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    whole_ns, waited_ns, ran_ns, model = done.stdout.rstrip("\n").split("\t")[:4]
    assert int(whole_ns) > int(waited_ns) + int(ran_ns) > 0
    assert model == "iris"


def test_the_page_names_every_stage_and_the_bound_of_the_file() -> None:
    """As the code has them."""
    spans = set(code_spans(PAGE.read_text("utf-8")))
    assert spans >= {stage.value for stage in Stage}
    assert f"has {MAX_FILE_BYTES // MIB} MiB it becomes" in PAGE.read_text("utf-8")
    assert f"{2 * MAX_FILE_BYTES // MIB} MiB is the most" in PAGE.read_text("utf-8")


def test_the_page_names_every_setting_of_both_rpcs(served: tuple[str, Path]) -> None:
    """As a running server has them."""
    spans = set(code_spans(PAGE.read_text("utf-8")))
    with grpc.insecure_channel(served[0]) as channel:
        for rpc, response in (("TraceSetting", TraceSettingResponse), ("LogSettings", LogSettingsResponse)):
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHODS[rpc].path)
            assert spans >= set(response.FromString(call(b"", timeout=60.0)).settings)
