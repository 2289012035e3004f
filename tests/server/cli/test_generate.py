"""The verb ``client generate``: what it writes and leaves alone, and its exit codes. Models are served in tests/e2e."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from sardonyx_client.generate import MARK
from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exit_codes import ExitCode
from sardonyx_wire.messages import (
    ModelConfigResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelStatisticsResponse,
    RepositoryIndexResponse,
)
from tests.client.servers import TinyServer, say
from tests.e2e.models import repository, write

FILES = ["__init__.py", "_add_sub.py", "_optional.py", "py.typed"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two models on disk."""
    return write([each for each in repository() if each.name in {"add_sub", "optional"}], tmp_path / "models")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where to write; not there yet."""
    return tmp_path / "made" / "package"


def names(folder: Path) -> list[str]:
    """Names of files."""
    return sorted(path.name for path in folder.iterdir())


def generate(out: Path, *arguments: str | Path) -> int:
    """One run."""
    return run(["client", "generate", "--out", str(out), *map(str, arguments)])


def test_a_repository_needs_no_server(models: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what is already right is not touched."""
    assert generate(out, "--repository", models) == ExitCode.OK
    assert names(out) == FILES
    assert capsys.readouterr().out == f"{out}: 2 models; 4 files written, 0 removed, 0 unchanged\n"
    before = {name: (out / name).stat().st_mtime_ns for name in FILES}
    assert generate(out, "--repository", models) == ExitCode.OK
    assert capsys.readouterr().out == f"{out}: 2 models; 0 files written, 0 removed, 4 unchanged\n"
    assert {name: (out / name).stat().st_mtime_ns for name in FILES} == before


def test_models_that_are_not_wanted_any_more_go(models: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only files that were generated: others in the folder stay."""
    generate(out, "--repository", models)
    (out / "mine.py").write_text("x = 1\n")
    capsys.readouterr()
    assert generate(out, "--repository", models, "--model", "optional", "--model", "optional") == ExitCode.OK
    assert names(out) == ["__init__.py", "_optional.py", "mine.py", "py.typed"]
    assert capsys.readouterr().out == f"{out}: 1 model; 1 files written, 1 removed, 2 unchanged\n"


def test_a_package_of_somebody_else_is_left_alone(models: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty file may be taken."""
    out.mkdir(parents=True)
    (out / "_optional.py").write_text("")
    (out / "__init__.py").write_text("x = 1\n")
    assert generate(out, "--repository", models) == ExitCode.USAGE
    assert names(out) == ["__init__.py", "_optional.py"]
    assert capsys.readouterr().err == (
        f"sardonyx: --out '{out}': __init__.py there was not generated; choose a folder of its own\n"
    )
    (out / "__init__.py").unlink()
    assert generate(out, "--repository", models) == ExitCode.OK
    assert (out / "_optional.py").read_text().startswith(MARK)


def test_mistakes_are_told(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each on one line; nothing is written."""
    file = tmp_path / "file"
    file.touch()
    for arguments, text in (
        ((tmp_path / "p", "--repository", models, "--model", "x"), "no model 'x' here; models: add_sub, optional"),
        (
            (tmp_path / "p", "--repository", tmp_path / "no"),
            f"model repository '{tmp_path}/no': no such file or folder",
        ),
        ((file, "--repository", models), f"--out '{file}': expected a folder, got a file"),
        ((file / "p", "--repository", models), f"--out '{file}/p': Not a directory"),
        (
            (tmp_path / "p", "--repository", models, "--url", "h:1"),
            "--url and --repository: expected one of them, got both",
        ),
    ):
        assert generate(*arguments) == ExitCode.USAGE
        assert capsys.readouterr().err == f"sardonyx: {text}\n"
    assert not (tmp_path / "p").exists()


def test_a_variable_is_no_contradiction(models: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SARDONYX_URL is for all verbs that ask a server."""
    monkeypatch.setenv("SARDONYX_URL", "127.0.0.1:1")
    assert generate(out, "--repository", models) == ExitCode.OK


def test_a_model_that_cannot_be_loaded_is_told(models: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written; the others can be named."""
    (models / "broken" / "1").mkdir(parents=True)
    (models / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    (models / "worse").mkdir()
    (models / "worse" / "config.pbtxt").write_text("?")
    assert generate(out, "--repository", models) == ExitCode.LOAD_FAILED
    assert capsys.readouterr().err == (
        "sardonyx: version 1 of model 'broken' is no ONNX model, or cut off (8 bytes)"
        " (--model names those to generate, without this one)\n"
    )
    assert generate(out, "--repository", models, "--model", "worse") == ExitCode.LOAD_FAILED
    assert capsys.readouterr().err.startswith("sardonyx: model 'worse': ")
    assert not out.exists()


def metadata(request: ModelMetadataRequest, context: grpc.ServicerContext) -> ModelMetadataResponse:
    """One model."""
    if request.name != "m":
        context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model '{request.name}'")
    response = ModelMetadataResponse(name="m", versions=["1"])
    response.inputs.add(name="x", datatype="FP32", shape=[-1])
    response.inputs.add(name="bias", datatype="FP32", shape=[-1])
    response.outputs.add(name="y", datatype="FP32", shape=[-1])
    return response


def config() -> ModelConfigResponse:
    """It tells which input is optional."""
    response = ModelConfigResponse()
    response.config.input.add(name="x")
    response.config.input.add(name="bias", optional=True)
    return response


def index() -> RepositoryIndexResponse:
    """Two versions of one model."""
    response = RepositoryIndexResponse()
    response.models.add(name="m", version="1", state="READY")
    response.models.add(name="m", version="2", state="READY")
    return response


def statistics() -> ModelStatisticsResponse:
    """Likewise."""
    response = ModelStatisticsResponse()
    response.model_stats.add(name="m", version="1")
    response.model_stats.add(name="m", version="2")
    return response


@pytest.mark.parametrize(
    ("answers", "optional"),
    [
        ({"RepositoryIndex": say(index()), "ModelConfig": say(config())}, True),
        ({"ModelStatistics": say(statistics()), "ModelConfig": say(config())}, True),
        ({"RepositoryIndex": say(index())}, False),
    ],
)
def test_a_server_tells_its_models(answers: dict[str, Any], optional: bool, out: Path) -> None:
    """By index or statistics, as far as it has them; its config tells which inputs are optional."""
    with TinyServer(ModelMetadata=metadata, **answers) as server:
        assert generate(out, "--url", server.address) == ExitCode.OK
    assert names(out) == ["__init__.py", "_m.py", "py.typed"]
    assert ("bias: NDArray[np.float32] | None = None" in (out / "_m.py").read_text()) == optional


def test_a_server_of_the_core_protocol_needs_the_names(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has neither index nor statistics nor config."""
    with TinyServer(ModelMetadata=metadata) as server:
        assert generate(out, "--url", server.address) == ExitCode.REQUEST_FAILED
        assert capsys.readouterr().err == ("sardonyx: this server cannot list its models; name them with --model\n")
        assert generate(out, "--url", server.address, "--model", "m") == ExitCode.OK
        capsys.readouterr()
        assert generate(out, "--url", server.address, "--model", "n") == ExitCode.REQUEST_FAILED
    assert capsys.readouterr().err == f"sardonyx: NOT_FOUND: unknown model 'n' (server {server.address})\n"


def test_a_server_that_cannot_be_used_is_told(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No server, no model, no datatype."""
    assert generate(out, "--url", "127.0.0.1:1", "--timeout-s", "5") == ExitCode.REQUEST_FAILED
    assert "(is a server listening on 127.0.0.1:1? 'sardonyx serve PATH' starts one)" in capsys.readouterr().err
    with TinyServer(RepositoryIndex=say(RepositoryIndexResponse())) as server:
        assert generate(out, "--url", server.address) == ExitCode.REQUEST_FAILED
    assert capsys.readouterr().err == f"sardonyx: server {server.address} has no model that is ready\n"
    odd = ModelMetadataResponse(name="m")
    odd.outputs.add(name="y", datatype="COMPLEX64")
    with TinyServer(RepositoryIndex=say(index()), ModelMetadata=say(odd)) as server:
        assert generate(out, "--url", server.address) == ExitCode.REQUEST_FAILED
    assert capsys.readouterr().err.startswith("sardonyx: output 'y' of model 'm' is 'COMPLEX64', expected one of BOOL,")
    assert not out.exists()
