"""The command as it is run: exit codes, one clear line for each mistake, and nothing heavy imported too early."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sardonyx_server.cli import commands
from sardonyx_server.cli.check import outcome
from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exit_codes import ExitCode, meanings
from sardonyx_server.cli.flags import SETTINGS
from sardonyx_server.cli.reference import refreshed
from sardonyx_server.cli.startup_message import program_command

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Done:
    """How one command line ended."""

    returncode: int
    stdout: str
    stderr: str


Sardonyx = Callable[..., Done]


@pytest.fixture
def sardonyx(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sardonyx:
    """Runs a command line in this process, with no SARDONYX_* variables but those given."""

    def call(*arguments: str, **variables: str) -> Done:
        with monkeypatch.context() as environment:
            for name in [name for name in os.environ if name.startswith("SARDONYX_")]:
                environment.delenv(name)
            for name, value in variables.items():
                environment.setenv(name, value)
            code = run(arguments)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


def test_the_program_ends_with_the_code_and_the_line() -> None:
    """As a process of its own: this is what a shell and a service manager see."""
    done = subprocess.run(
        [sys.executable, "-m", "sardonyx_server.cli", "serve", "/no/such"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sardonyx: model repository '/no/such': no such file or folder\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("bogus",), "sardonyx: no such command 'bogus' (see 'sardonyx --help')"),
        (
            (str(ROOT / "models"),),
            f"sardonyx: no such command '{ROOT}/models'; to serve it, write: sardonyx serve {ROOT}/models",
        ),
        (
            ("--grpc-port", "1"),
            "sardonyx: no such option: --grpc-port; options come after a command, such as 'sardonyx serve --grpc-port ",
        ),
        (
            ("serve", "models", "--log-verbose=1"),
            "sardonyx: no such option: --log-verbose, which is Triton's; use --log-level debug\n",
        ),
        (
            ("serve", "models", "--pinned-memory-pool-byte-size", "0"),
            "sardonyx: no such option: --pinned-memory-pool-byte-size, which is Triton's; leave it out: nothing here ",
        ),
        (("infer",), "sardonyx: missing argument "),
        (("serve", "--grpc-prot", "1"), "sardonyx: no such option: --grpc-prot"),
        (
            ("serve", "--grpc-port", "x", "models"),
            "sardonyx: --grpc-port: expected a port from 0 to 65535, got 'x'",
        ),
        (("serve",), "sardonyx: no model repository: expected 'sardonyx serve PATH', --model-repository, "),
        (("serve", "/no/such"), "sardonyx: model repository '/no/such': no such file or folder"),
        (("check", "/no/such"), "sardonyx: model repository '/no/such': no such file or folder"),
        (("serve", "~nobody-at-all/m"), "sardonyx: model repository '~nobody-at-all/m': no such file or folder"),
        (("serve", "m" * 256), f"sardonyx: model repository '{'m' * 256}': File name too long"),
        (("serve", "--config", "~nobody-at-all/c"), "sardonyx: --config: cannot read '~nobody-at-all/c': No such file"),
        (("serve", "--config", "/no/such", "models"), "sardonyx: --config: cannot read '/no/such': No such file or "),
        (
            ("infer", "iris", "X=1", "--url", "http://models:8001"),
            "sardonyx: --url: address 'http://models:8001': expected host:port, without http://, such as ",
        ),
        (("serve", "--providers", "quantum"), "sardonyx: --providers: unknown provider 'quantum'"),
        (("serve", "--load-model", "iris"), "sardonyx: load_model is 'iris' but model_control_mode is 'none'"),
    ],
)
def test_a_mistake_gives_one_line_and_exit_code_2(sardonyx: Sardonyx, arguments: tuple[str, ...], line: str) -> None:
    """On standard error, without a traceback."""
    done = sardonyx(*arguments)
    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_a_wrong_variable_gives_one_line_and_exit_code_2(sardonyx: Sardonyx) -> None:
    """It names the variable."""
    done = sardonyx("serve", "models", SARDONYX_LOG_LEVEL="loud")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == "sardonyx: SARDONYX_LOG_LEVEL: expected one of debug, info, warning, error, got 'loud'\n"


def test_a_port_in_use_gives_one_line_and_exit_code_4(sardonyx: Sardonyx, tmp_path: Path) -> None:
    """Before any model is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = sardonyx("serve", str(tmp_path), "--grpc-port", str(port))
        other = sardonyx("serve", str(tmp_path), "--grpc-port", "0", "--http-port", str(port))
        third = sardonyx("serve", str(tmp_path), "--grpc-port", "0", "--metrics-port", str(port))
    assert done.returncode == other.returncode == third.returncode == ExitCode.CANNOT_LISTEN
    reason = "the port is in use; stop the program that uses it or choose another with"
    assert done.stderr == f"sardonyx: cannot listen on 127.0.0.1:{port}: {reason} --grpc-port\n"
    assert other.stderr == f"sardonyx: cannot listen on 127.0.0.1:{port}: {reason} --http-port\n"
    assert third.stderr == f"sardonyx: cannot listen on 127.0.0.1:{port}: {reason} --metrics-port (or 'off')\n"


def test_an_address_of_another_machine_gives_exit_code_4(sardonyx: Sardonyx, tmp_path: Path) -> None:
    """192.0.2.0/24 belongs to nobody (RFC 5737)."""
    done = sardonyx("serve", str(tmp_path), "--host", "192.0.2.1", "--grpc-port", "0")
    assert done.returncode == ExitCode.CANNOT_LISTEN
    assert done.stderr == "sardonyx: cannot listen on 192.0.2.1:0: this machine has no such address; set --host\n"
    done = sardonyx("serve", str(tmp_path), "--host", "models..internal", "--grpc-port", "0")
    assert done.stderr == "sardonyx: cannot listen on models..internal: unknown host name; set --host\n"
    done = sardonyx("serve", str(tmp_path), "--grpc-port", "0", "--metrics-address", "192.0.2.1")
    assert done.stderr == (
        "sardonyx: cannot listen on 192.0.2.1:8002: this machine has no such address; set --metrics-address\n"
    )


def test_what_can_never_be_served_gives_one_line_and_exit_code_2(sardonyx: Sardonyx, tmp_path: Path) -> None:
    """What is looked at once: the folder of one model, folders that hold no model, an empty one. With the way out."""
    version = tmp_path / "good" / "two" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").touch()
    (tmp_path / "etc" / "apt").mkdir(parents=True)
    (tmp_path / "etc" / "postgresql" / "15" / "main").mkdir(parents=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, line in (
        (
            version.parent,
            (
                f"model repository {str(version.parent)!r} is the folder of one model; give the folder above it: "
                f"'sardonyx serve {tmp_path / 'good'}'"
            ),
        ),
        (
            tmp_path / "etc",
            (
                f"no model in {str(tmp_path / 'etc')!r}: model 'apt' has no version folder; expected "
                "'apt/1/model.onnx' (of 2 folders in it, none is a model)"
            ),
        ),
        (
            empty,
            (
                f"no model in {str(empty)!r}: expected <model>/<version>/model.onnx or .onnx files; to add models "
                "later, use --model-control-mode poll or explicit"
            ),
        ),
    ):
        done = sardonyx("serve", str(folder), "--grpc-port", "0", "--metrics-port", "off")
        assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
        assert done.stderr == f"sardonyx: {line}\n"


def test_a_server_that_is_not_there_gives_one_line_and_exit_code_5(sardonyx: Sardonyx) -> None:
    """The line says what to start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"127.0.0.1:{free.getsockname()[1]}"
    done = sardonyx("infer", "iris", "X=1", "--url", url, "--timeout-s", "5")
    assert done.returncode == ExitCode.REQUEST_FAILED
    assert done.stderr == (
        f"sardonyx: UNAVAILABLE: no connection for ModelMetadata on {url}: Connection refused "
        f"(is a server listening on {url}? 'sardonyx serve PATH' starts one)\n"
    )


def test_no_arguments_shows_the_help_and_exit_code_2(sardonyx: Sardonyx) -> None:
    """A person sees what there is; a script sees that nothing was done."""
    done = sardonyx()
    assert done.returncode == ExitCode.USAGE
    assert "Exit codes:" in done.stdout
    assert done.stderr == ""


def test_the_help_documents_every_exit_code(sardonyx: Sardonyx) -> None:
    """They are a contract."""
    text = " ".join(sardonyx("--help").stdout.split())
    for code, meaning in meanings().items():
        assert f" {code} {meaning}" in text


def test_the_help_fits_a_narrow_terminal() -> None:
    """The exit codes too, which stay on lines of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "sardonyx_server.cli", "--help"],
        env={**os.environ, "COLUMNS": "60"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert max(map(len, done.stdout.splitlines())) <= 60
    assert "\n      6  bench: the SLO" in done.stdout
    assert "\n    130  interrupted" in done.stdout


def test_the_help_of_serve_shows_every_setting(sardonyx: Sardonyx) -> None:
    """With its text."""
    text = " ".join(sardonyx("serve", "--help").stdout.split())
    for name, setting in SETTINGS.items():
        assert setting.flags[0] in text
        first_words = " ".join(setting.doc.split()[:4])
        assert first_words in text.replace("- ", "-"), name


def test_the_flags_of_serve_are_the_fields_of_settings() -> None:
    """And a few of its own."""
    own = {"path", "config", "show_settings", "json"}
    assert set(inspect.signature(commands.serve).parameters) == set(SETTINGS) | own


def test_version_names_what_it_stands_on(sardonyx: Sardonyx) -> None:
    """As lines and as JSON."""
    document = json.loads(sardonyx("version", "--json").stdout)
    assert {"sardonyx", "python", "grpcio", "protobuf", "onnxruntime", "numpy", "providers"} <= set(document)
    assert "cpu" in document["providers"]
    assert f"grpcio      {document['grpcio']}\n" in sardonyx("version").stdout
    assert sardonyx("--version").stdout == sardonyx("version").stdout


def test_python_m_is_the_command_too() -> None:
    """For containers, whose programs are not always on the PATH."""
    command = [sys.executable, "-m", "sardonyx_server", "serve", "/no/such"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_show_settings_tells_value_and_origin_and_starts_nothing(sardonyx: Sardonyx) -> None:
    """Also without a repository."""
    done = sardonyx("serve", "--show-settings", "--json", "--grpc-port", "1", SARDONYX_CORES="3")
    assert done.returncode == ExitCode.OK
    settings = json.loads(done.stdout)
    assert settings["grpc_port"] == {"value": "1", "source": "flag", "where": "--grpc-port"}
    assert settings["cores"] == {"value": "3", "source": "environment", "where": "SARDONYX_CORES"}
    assert settings["log_format"]["source"] == "default"
    assert set(settings) == set(SETTINGS)


def test_positional_paths_and_the_flag_name_repositories_alike(sardonyx: Sardonyx) -> None:
    """They add up, the positional ones first."""
    done = sardonyx("serve", "--show-settings", "--json", "a", "b", "--model-repository", "c")
    assert json.loads(done.stdout)["model_repository"]["value"] == "a:b:c"


def test_help_imports_neither_grpc_nor_onnxruntime_nor_numpy() -> None:
    """What a verb does not need does not delay it."""
    code = (
        "import sys; from sardonyx_server.cli.entry import run; run(['serve', '--help']); "
        "sys.exit(sorted({'grpc', 'onnxruntime', 'numpy', 'rich', 'structlog'} & set(sys.modules)) or None)"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_an_unexpected_error_is_one_line_and_a_traceback_on_request(tmp_path: Path) -> None:
    """A bug is reported as one, whatever it is."""
    (tmp_path / "sardonyx_client.py").write_text("raise RuntimeError('broken\\ninstallation')\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    code = "import sys; from sardonyx_server.cli.entry import run; sys.exit(run(['infer', 'm']))"

    def in_process(**variables: str) -> subprocess.CompletedProcess[str]:
        environ = os.environ | {"PYTHONPATH": path} | variables
        return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)

    done = in_process()
    assert done.returncode == ExitCode.UNEXPECTED
    assert done.stderr == (
        "sardonyx: unexpected RuntimeError: broken installation (a bug; SARDONYX_TRACEBACK=1 shows where)\n"
    )
    assert "Traceback (most recent call last)" in in_process(SARDONYX_TRACEBACK="1").stderr


def test_a_model_that_crashes_its_process_is_reported_as_failed() -> None:
    """Whatever way the child of a check ends, its model has a line."""
    crashed = outcome("m", 1, returncode=-11, output="", errors="noise\nlast words\n")
    assert (crashed.state, crashed.reason) == (
        "FAILED",
        "it crashed the process that loaded it (SIGSEGV): last words",
    )
    assert outcome("m", 1, returncode=3, output="", errors="").reason == "the process that loaded it ended with code 3"
    assert outcome("m", 1, returncode=0, output="{", errors="").reason == "the process that loaded it wrote no result"


def test_the_program_is_named_so_that_it_is_found_from_any_folder(tmp_path: Path) -> None:
    """By its full path, or as a module of this Python."""
    assert program_command(str(tmp_path / "sardonyx")) == [str(tmp_path / "sardonyx")]
    assert program_command("./bin/sardonyx") == [str(Path.cwd() / "bin" / "sardonyx")]
    assert program_command("/x/cli/__main__.py") == [sys.executable, "-m", "sardonyx_server.cli"]


@pytest.mark.parametrize("name", ["configuration.md", "metrics.md"])
def test_the_reference_is_current(name: str) -> None:
    """Made anew with: python -m sardonyx_server.cli.reference docs/configuration.md docs/metrics.md."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert refreshed(text) == text


def test_a_document_without_markers_is_refused() -> None:
    """A marker with a slip of the pen would never be refreshed."""
    with pytest.raises(ValueError, match="expected markers such as <!-- settings: generated -->"):
        refreshed("no markers")
    with pytest.raises(ValueError, match="expected <!-- settings: end --> after <!-- settings: generated -->"):
        refreshed("<!-- settings: generated -->")
