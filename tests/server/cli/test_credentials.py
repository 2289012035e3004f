"""What verbs send with each call: by flag, by variable, to servers that ask for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_server.cli.credentials import metadata_of
from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exit_codes import CliError, ExitCode
from tests.server.cli.doubler import Doubler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = "0123456789abcdef"
KEY = "triton-grpc-protocol-infer-key"


class Guard(grpc.ServerInterceptor):
    """Lets through what carries both, and says so of all else."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """See grpc."""
        sent = list(details.invocation_metadata)
        if ("authorization", f"Bearer {GOOD}") in sent and (KEY, "a=b") in sent:
            return continuation(details)

        def refuse(_request: Any, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture
def guarded() -> Iterator[str]:
    """Address of a server that asks for both."""
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[Guard()])
    server.add_generic_rpc_handlers((Doubler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(params=["flag", "variable"])
def credentials(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Words of a command line that bring both; the token by a flag, or by its variable."""
    header = ["--header", f"{KEY}=a=b"]
    if request.param == "flag":
        return ["--token", GOOD, *header]
    monkeypatch.setenv("SARDONYX_TOKEN", GOOD)
    return header


def test_infer_sends_them(guarded: str, credentials: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without, the refusal is one line."""
    words = ["infer", "double", "x=[1,2.5]", "text=hello", "--url", guarded]
    assert run([*words, *credentials]) == ExitCode.OK
    assert run([*words, "--token", "wrong"]) == ExitCode.REQUEST_FAILED
    assert capsys.readouterr().err == f"sardonyx: UNAUTHENTICATED: who are you? (server {guarded})\n"


def test_generate_sends_them(guarded: str, credentials: list[str], tmp_path: Path) -> None:
    """With each of its questions."""
    words = ["client", "generate", "--url", guarded, "--model", "double", "--out", str(tmp_path / "made")]
    assert run([*words, *credentials]) == ExitCode.OK
    assert run([*words, "--token", "wrong"]) == ExitCode.REQUEST_FAILED


def test_bench_sends_them(guarded: str, credentials: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """For the signature, for the request that is tried, and by the processes that send the load."""
    pytest.importorskip("hdrh")
    words = ["bench", guarded, "--model", "double", "--concurrency", "2", "--duration", "0.3", "--warmup", "0"]
    assert run([*words, *credentials]) == ExitCode.OK
    assert "errors   none" in capsys.readouterr().out
    assert run([*words, "--token", "wrong"]) == ExitCode.REQUEST_FAILED


@pytest.mark.parametrize(
    ("token", "headers", "text"),
    [
        ("sécret-token", [], "--token, SARDONYX_TOKEN: expected printable ASCII without spaces"),
        ("secret token", [], "--token, SARDONYX_TOKEN: expected printable ASCII without spaces"),
        ("", ["secret"], "--header: expected NAME=VALUE, a name of"),
        ("", ["Name=secret"], "--header: expected NAME=VALUE, a name of"),
        ("", ["grpc-x=secret"], "--header: expected NAME=VALUE, a name of"),
        ("", ["a= secret"], "--header: expected NAME=VALUE, a name of"),
        ("", ["a=1", "a=2"], "--header: 'a' is sent twice"),
        ("secret", ["authorization=Basic secret"], "--header: 'authorization' is sent twice"),
    ],
)
def test_what_cannot_be_sent_is_told_without_its_value(token: str, headers: list[str], text: str) -> None:
    """Exit code 2."""
    with pytest.raises(CliError) as caught:
        metadata_of(token, headers)
    assert caught.value.code == ExitCode.USAGE
    assert caught.value.message.startswith(text)
    assert "secret" not in caught.value.message


def test_nothing_typed_is_nothing_sent() -> None:
    """An empty variable counts as none."""
    assert metadata_of("", []) == ()
