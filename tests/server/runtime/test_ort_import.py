"""How onnxruntime comes into a process: quietly, and without calling home. Each in a process of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from sardonyx_server.runtime import ort_import

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

# What a person's shell has, without what silences onnxruntime for other reasons (CI, its own variables).
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")

_REPORT = """
import logging, os, sys
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(levelname)s %(message)s")
{before}
from sardonyx_server.runtime import ort_import
try:
    runtime = ort_import.import_onnxruntime()
except Exception as error:
    print(type(error).__name__, error)
    raise SystemExit
assert ort_import.import_onnxruntime() is runtime
print("threads", sum(1 for _ in os.scandir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1)
os.write(2, b"after")
"""


def report(home: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """Load onnxruntime in a new process; its log goes to stdout."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"HOME": str(home), "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    script = _REPORT.format(before=before)
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )


def stub_module(folder: Path, source: str) -> str:
    """A stand-in for onnxruntime, put in front of the real one."""
    (folder / "stub").mkdir()
    (folder / "stub" / "onnxruntime.py").write_text(source)
    return f"sys.path.insert(0, {str(folder / 'stub')!r})"


def test_no_telemetry_starts(tmp_path: Path) -> None:
    """From 1.29 on: no thread, no database in the home directory. The one thread is Python's own."""
    result = report(tmp_path)
    assert "threads 1" in result.stdout
    assert list(tmp_path.rglob("*")) == []


def test_an_operator_who_wants_telemetry_can_have_it(tmp_path: Path) -> None:
    """A variable that is already set is left alone."""
    before = "os.environ['ORT_DISABLE_TELEMETRY'] = '0'\n" + stub_module(
        tmp_path,
        "import os; print('telemetry off:', os.environ['ORT_DISABLE_TELEMETRY']); InferenceSession = None\n"
        "disable_telemetry_events = lambda: None\nset_default_logger_severity = lambda level: None\n",
    )
    assert "telemetry off: 0" in report(tmp_path, before).stdout


def test_the_import_writes_nothing_to_the_terminal(tmp_path: Path) -> None:
    """And what comes after it does."""
    assert report(tmp_path).stderr == "after"


def test_what_onnxruntime_says_at_import_goes_to_the_log(tmp_path: Path) -> None:
    """Its warnings for those who look, anything else as a warning; nothing is lost."""
    warning = "2026-01-01 00:00:00 [W:onnxruntime:Default, device_discovery.cc:164] GPU device discovery failed"
    before = stub_module(
        tmp_path,
        f"import os\nos.write(2, {warning!r}.encode() + b'\\nsomething broke\\n')\nInferenceSession = None\n"
        "disable_telemetry_events = lambda: None\nset_default_logger_severity = lambda level: None\n",
    )
    result = report(tmp_path, before)
    assert result.stderr == "after"
    assert f"DEBUG onnxruntime, at import: {warning}" in result.stdout
    assert "WARNING onnxruntime, at import: something broke" in result.stdout


def test_an_onnxruntime_that_does_not_import_says_what_to_install(tmp_path: Path) -> None:
    """The reason goes to the log."""
    result = report(tmp_path, stub_module(tmp_path, "raise ImportError('libfoo.so.1: cannot open shared object file')"))
    assert (
        "SettingsError onnxruntime is not installed, or its libraries do not load; install it with: "
        "pip install 'sardonyx[server]', or 'sardonyx[gpu]' for a GPU"
    ) in result.stdout
    assert "libfoo.so.1" in result.stdout


def test_what_onnxruntime_logs_later_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its severities become levels; the place in its sources is beside the text, not in it."""
    with caplog.at_level(logging.ERROR, logger="sardonyx.runtime"):
        ort_import._to_log(3, "onnxruntime", "", "provider.cc:1 Start", "no device\n")
        ort_import._to_log(9, "onnxruntime", "", "", "unknown severity")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "onnxruntime: no device"),
        ("CRITICAL", "onnxruntime: unknown severity"),
    ]


def test_gpu_libraries_that_are_missing_are_a_note_in_the_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are printed by onnxruntime; a session that needs them fails by itself."""

    class Runtime:
        @staticmethod
        def preload_dlls() -> None:
            sys.stdout.write("Failed to load libcudnn.so.9\n")

    with caplog.at_level(logging.INFO, logger="sardonyx.runtime"):
        ort_import.preload_gpu_libraries(Runtime)
        ort_import.preload_gpu_libraries(object())
    assert [record.getMessage() for record in caplog.records] == ["onnxruntime: Failed to load libcudnn.so.9"]
    assert capsys.readouterr().out == ""
