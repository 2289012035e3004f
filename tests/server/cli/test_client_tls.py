"""Commands that call a server with TLS, and what is said where one has it and the other has not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exit_codes import ExitCode
from sardonyx_server.rpc.tls import Certificates, TlsFiles
from tests.certificates import SERVER_NAME, Identity, TestAuthority, needs_openssl
from tests.server.cli.doubler import Doubler
from tests.server.rpc.transports import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_openssl

ASK = ("infer", "double", "x=[1,2.5]", "text=hello", "--url")
ANSWER = "y  FP32 [1,2]  [[2.0, 5.0]]\ntext  BYTES [1]  ['hello']\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """Made once."""
    return TestAuthority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def own(authority: TestAuthority) -> Identity:
    """For either side."""
    return authority.identity("own")


@pytest.fixture(scope="module", params=[False, True])
def served(request: pytest.FixtureRequest, authority: TestAuthority, own: Identity) -> Iterator[tuple[str, list[str]]]:
    """Address and options for a server that doubles: one that asks for no certificate, and one that does."""
    credentials = grpc.ssl_server_credentials(
        [own.pem], authority.certificate.read_bytes(), require_client_auth=request.param
    )
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Doubler(),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    mine = ["--certificate", str(own.certificate), "--key", str(own.key)] if request.param else []
    yield f"127.0.0.1:{port}", ["--ca", str(authority.certificate), *mine]
    server.stop(None).wait()


def test_infer_calls_it(served: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """By its address, or by the name that its certificate is for."""
    url, options = served
    for more in ([], ["--server-name", SERVER_NAME]):
        assert run([*ASK, url, *options, *more]) == ExitCode.OK
        assert capsys.readouterr().out == ANSWER


def test_generate_calls_it(served: tuple[str, list[str]], tmp_path: Path) -> None:
    """The same options."""
    url, options = served
    out = tmp_path / "models"
    arguments = ["client", "generate", "--out", str(out), "--url", url, "--model", "double", *options]
    assert run(arguments) == ExitCode.OK
    assert (out / "__init__.py").exists()


def test_a_server_that_is_not_trusted_is_not_asked(
    served: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """GRPC's own authorities have not signed for it; nor is it for any name."""
    url, options = served
    assert run([*ASK, url, "--tls"]) == ExitCode.REQUEST_FAILED
    assert capsys.readouterr().err.startswith("sardonyx: UNAVAILABLE: ")
    assert run([*ASK, url, *options, "--server-name", "elsewhere.example"]) == ExitCode.REQUEST_FAILED


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--ca", "/no/such.pem"],
            "TLS: ca: cannot read '/no/such.pem': No such file or directory; give a path, or PEM as bytes",
        ),
        (["--certificate", "/some.pem"], "TLS: certificate and key go together; one of them is missing"),
    ],
)
def test_files_that_are_none_are_a_wrong_command_line(
    options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any server is asked."""
    assert run([*ASK, "127.0.0.1:1", *options]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"sardonyx: {line}\n"


def test_who_forgets_tls_is_reminded(own: Identity, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the options of infer, and that bench has none."""
    files = TlsFiles(certificate=own.certificate, key=own.key, root=None)
    with opened("lane", certificates=Certificates(files)) as lane:
        assert run([*ASK, lane.address]) == ExitCode.REQUEST_FAILED
        said = capsys.readouterr().err
        assert "the server does not speak HTTP/2 without TLS: is this its gRPC port?" in said
        assert said.endswith(f" (server {lane.address}; if it speaks TLS: add --tls, or --ca FILE)\n")
        assert run(["bench", lane.address, "--model", "double", "--concurrency", "1"]) == ExitCode.REQUEST_FAILED
        assert capsys.readouterr().err.endswith("if it speaks TLS: bench does not, so measure one without)\n")


@pytest.mark.usefixtures("log_as_before")
def test_serve_ends_with_a_line_where_its_files_cannot_be_used(
    own: Identity, authority: TestAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong setting, before any model is loaded: this one could not be."""
    (tmp_path / "model.onnx").write_bytes(b"no model")
    start = ["serve", str(tmp_path), "--grpc-port", "0", "--metrics-port", "off"]
    missing = str(tmp_path / "none.pem")
    mine = ["--grpc-server-cert", str(own.certificate), "--grpc-server-key", str(own.key)]
    for options, line in (
        (["--grpc-use-ssl", "true", *mine[:2], "--grpc-server-key", missing], f"cannot read {missing!r}: No such file"),
        (["--grpc-use-ssl", "true", *mine[:2]], "grpc_use_ssl is true but grpc_server_key is not set"),
        (["--grpc-use-ssl-mutual", "true", *mine], "grpc_use_ssl_mutual is true but grpc_root_cert is not set"),
        (["--grpc-use-ssl", "1", *mine[:2], "--grpc-server-key", str(authority.certificate)], "expected a certificate"),
        (mine, "grpc_server_cert is set but grpc_use_ssl is false"),
    ):
        assert run([*start, *options]) == ExitCode.USAGE
        said = capsys.readouterr().err
        assert line in said
        assert said.count("\n") == 1
