"""Who may call what, over real sockets: tokens and Triton's restricted protocols, on both transports."""

from __future__ import annotations

import asyncio
import json
import queue
import signal
from typing import TYPE_CHECKING, Any, Final

import grpc
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from sardonyx_client import TLS, AsyncClient, Client, PermissionDenied, Unauthenticated
from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exit_codes import ExitCode
from sardonyx_server.rpc.access_control import PROTOCOL_OF, PUBLIC_METHODS
from sardonyx_wire.messages import METHODS
from tests.certificates import TestAuthority, needs_openssl
from tests.e2e.bad_streams import STREAM
from tests.e2e.messages import encoded, failure_of, infer_request
from tests.e2e.servers import ALLOW_ALL, CALL_TIMEOUT_S, INFER, TRANSPORTS, Server, assert_safe, eventually
from tests.e2e.test_process import QUICK, serving
from tests.e2e.test_reachable import LISTED, REFLECT, reflected
from tests.server.rpc.conversations import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Headers = list[tuple[str, str]]

ALL: Final = "may-call-everything-0123456789"
SOME: Final = "may-only-infer-0123456789"
WRONG: Final = "nobody-has-this-0123456789"
ADMIN: Final = ("triton-grpc-protocol-admin-key", "admin-value")
INFERS: Final = ("triton-grpc-protocol-infer-key", "infer=value")
UNKNOWN: Final = "expected the metadata 'authorization: Bearer TOKEN', once, with a token that this server knows"
CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
ONES: Final = np.ones((1, 4), np.float32)
REQUEST: Final = encoded(infer_request("affine", x=ONES))


def bearer(token: str) -> Headers:
    """As clients send it."""
    return [("authorization", f"Bearer {token}")]


@pytest.fixture(scope="module", params=TRANSPORTS)
def secured(request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for tokens."""
    tokens = tmp_path_factory.mktemp("secured") / "tokens"
    tokens.write_text(f"{ALL}  # operations\n{SOME}  inference,metadata\n")
    with Server(models, request.param, auth_tokens_file=tokens, **ALLOW_ALL) as running:
        yield running


@pytest.fixture(scope="module", params=TRANSPORTS)
def restricted(request: pytest.FixtureRequest, models: Path) -> Iterator[Server]:
    """A server as a start script for Triton sets it up."""
    groups = (
        "shared-memory,model-config,model-repository,statistics,trace,logging,health:admin-key=admin-value",
        "inference:infer-key=infer=value",
    )
    with Server(models, request.param, grpc_restricted_protocol=groups, **ALLOW_ALL) as running:
        yield running


def outcome(server: Server, path: str, headers: Headers, message: bytes = b"\xff\xff") -> tuple[grpc.StatusCode, str]:
    """How a call with one message ends, whichever kind it is."""
    call = server.channel.stream_stream(path)(iter([message]), metadata=headers, timeout=CALL_TIMEOUT_S)
    try:
        list(call)
    except grpc.RpcError as error:
        failure = failure_of(error)
        # What core refuses by itself, for its size, it says with the sizes of all that came.
        if failure.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            assert_safe(failure)
        return failure.code, failure.message
    return grpc.StatusCode.OK, ""


def test_the_table_lists_every_rpc() -> None:
    """What can be reached, and nothing else."""
    assert set(PROTOCOL_OF) >= LISTED
    assert set(PROTOCOL_OF) - LISTED <= {"/grpc.health.v1.Health/List"}


@pytest.mark.parametrize("path", sorted(LISTED))
def test_without_a_token_every_rpc_is_closed_but_health(secured: Server, path: str) -> None:
    """Before anything of the message is read; and with it, none."""
    refused = (grpc.StatusCode.UNAUTHENTICATED, UNKNOWN)
    if path == WATCH:  # It would not end.
        return
    for headers in ([], bearer(WRONG), [("authorization", f"Basic {ALL}")]):
        assert (outcome(secured, path, headers) == refused) is (path not in PUBLIC_METHODS)
    assert outcome(secured, path, bearer(ALL))[0] not in {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }


@pytest.mark.parametrize("path", sorted(LISTED - {WATCH}))
def test_a_token_for_some_protocols_opens_those(secured: Server, path: str) -> None:
    """The refusal says which."""
    code, text = outcome(secured, path, bearer(SOME))
    protocol = PROTOCOL_OF[path]
    closed = path not in PUBLIC_METHODS and protocol not in {"inference", "metadata"}
    assert (code is grpc.StatusCode.PERMISSION_DENIED) is closed
    assert code is not grpc.StatusCode.UNAUTHENTICATED
    if closed:
        assert text == (
            f"the token that came may not call {protocol}, only metadata, inference; ask the operator for another"
        )


@pytest.mark.parametrize("path", sorted(LISTED - {WATCH}))
def test_restricted_protocols_need_their_header(restricted: Server, path: str) -> None:
    """Each its own; what is in no group is open."""
    protocol = PROTOCOL_OF[path]
    own = {"metadata": None, "inference": INFERS}.get(protocol, ADMIN)
    for header in (None, ADMIN, INFERS, (ADMIN[0], "wrong"), (INFERS[0], "infer")):
        code, text = outcome(restricted, path, [] if header is None else [header])
        if own is None or header == own:
            assert code is not grpc.StatusCode.UNAUTHENTICATED
        else:
            assert (code, text) == (
                grpc.StatusCode.UNAUTHENTICATED,
                (
                    f"{protocol} is restricted on this server: expected the metadata '{own[0]}', once, with the value "
                    "that it was given"
                ),
            )


@pytest.mark.parametrize("path", [INFER, STREAM, METHODS["ModelConfig"].path])
@pytest.mark.parametrize(
    "headers",
    [
        [*bearer(ALL), *bearer(ALL)],
        [*bearer(ALL), *bearer(WRONG)],
        [*bearer(WRONG), *bearer(ALL)],
        [("authorization", ALL)],
        [("authorization", f"Bearer {ALL}, Bearer {ALL}")],
    ],
    ids=["twice", "right then wrong", "wrong then right", "no scheme", "joined"],
)
def test_what_is_ambiguous_lets_nobody_in(secured: Server, path: str, headers: Headers) -> None:
    """The same words, and the next call is served."""
    assert outcome(secured, path, headers) == (grpc.StatusCode.UNAUTHENTICATED, UNKNOWN)
    secured.infer(REQUEST, metadata=bearer(ALL))


@pytest.mark.parametrize("path", [INFER, STREAM, METHODS["ModelConfig"].path])
@pytest.mark.parametrize(
    "headers",
    [
        bearer("x" * 9000),
        [*bearer(WRONG), *((f"x-{number}", "y" * 100) for number in range(90))],
        [*bearer(WRONG), *((f"x-{number}", "y" * 1000) for number in range(20))],
        [*bearer(ALL), *((f"x-{number}", "y" * 1000) for number in range(20))],
    ],
    ids=["long", "many", "above the limit", "right and above the limit"],
)
def test_huge_headers_let_nobody_in(secured: Server, path: str, headers: Headers) -> None:
    """The core of gRPC takes 8 KiB always and 16 never; a good token beside more than that is of no use."""
    assert outcome(secured, path, headers)[0] in {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
    secured.infer(REQUEST, metadata=bearer(ALL))


def test_one_connection_may_carry_calls_of_several_callers(secured: Server) -> None:
    """What was allowed for one header says nothing of another; again and again, since headers are remembered."""
    for _ in range(5):
        secured.infer(REQUEST, metadata=bearer(ALL))
        assert outcome(secured, INFER, bearer(WRONG), REQUEST) == (grpc.StatusCode.UNAUTHENTICATED, UNKNOWN)
        secured.infer(REQUEST, metadata=bearer(SOME))
        assert outcome(secured, INFER, [], REQUEST) == (grpc.StatusCode.UNAUTHENTICATED, UNKNOWN)


def test_what_is_refused_reaches_no_engine(secured: Server) -> None:
    """No run, no row in a queue; the failures are counted."""
    runs = secured.runs("affine")
    refusals = secured.app.registry.refusals
    before = refusals.counts().rejections.get("not_allowed", 0)
    for headers in ([], bearer(WRONG)):
        for path in (INFER, STREAM):
            assert outcome(secured, path, headers, REQUEST) == (grpc.StatusCode.UNAUTHENTICATED, UNKNOWN)
    secured.settle()
    assert secured.runs("affine") == runs
    assert refusals.counts().rejections["not_allowed"] == before + 4


def test_streams_are_asked_when_they_begin(secured: Server) -> None:
    """And have answers then."""
    stream = Conversation(secured.channel, STREAM, timeout=CALL_TIMEOUT_S, metadata=bearer(SOME))
    stream.send(REQUEST)
    answer = stream.read()
    stream.close()
    assert answer.infer_response.model_name == "affine"


def test_a_probe_needs_no_token(secured: Server) -> None:
    """Check and Watch of grpc.health.v1, ServerLive, ServerReady; and its connection stays one without rights."""
    serving_ = HealthCheckResponse.SERVING
    assert HealthCheckResponse.FromString(secured.raw(CHECK, HealthCheckRequest())).status == serving_
    watch = secured.channel.unary_stream(WATCH)(encoded(HealthCheckRequest()), timeout=CALL_TIMEOUT_S)
    assert HealthCheckResponse.FromString(next(watch)).status == serving_
    watch.cancel()
    assert secured.call("ServerLive").live
    assert secured.call("ServerReady").ready
    assert outcome(secured, INFER, [], REQUEST)[0] is grpc.StatusCode.UNAUTHENTICATED


def test_a_watch_of_a_restricted_health_needs_its_header(restricted: Server) -> None:
    """As Check does."""
    watch = restricted.channel.unary_stream(WATCH)
    with pytest.raises(grpc.RpcError) as caught:
        next(watch(encoded(HealthCheckRequest()), timeout=CALL_TIMEOUT_S))
    assert failure_of(caught.value).code is grpc.StatusCode.UNAUTHENTICATED
    call = watch(encoded(HealthCheckRequest()), metadata=[ADMIN], timeout=CALL_TIMEOUT_S)
    assert HealthCheckResponse.FromString(next(call)).status == HealthCheckResponse.SERVING
    call.cancel()


def test_reflection_needs_a_token_and_shows_what_it_always_does(secured: Server, restricted: Server) -> None:
    """It belongs to metadata, which the second server does not restrict."""
    assert outcome(secured, REFLECT, [], b"") == (grpc.StatusCode.UNAUTHENTICATED, UNKNOWN)
    assert outcome(secured, REFLECT, bearer(SOME), b"")[0] is grpc.StatusCode.OK
    assert reflected(restricted) == LISTED


def test_our_client_sends_its_token(secured: Server) -> None:
    """Its errors say what is wrong: no credentials, or too few."""
    with Client(secured.app.address, token=ALL) as client:
        assert client.infer("affine", x=ONES).model_name == "affine"
        assert client.repository.index()
        with client.stream() as stream:
            stream.send("affine", x=ONES)
            assert next(stream).model_name == "affine"
    with Client(secured.app.address, token=SOME) as client:
        assert client.infer("affine", x=ONES).model_name == "affine"
        with pytest.raises(PermissionDenied, match=r"^the token that came may not call model-repository"):
            client.repository.unload("affine")
    for transport in ("auto", "grpcio"):
        with Client(secured.app.address, token=WRONG, transport=transport) as client:
            assert client.live()
            with pytest.raises(Unauthenticated) as caught:
                client.infer("affine", x=ONES)
            assert (caught.value.message, caught.value.reason) == (UNKNOWN, "UNAUTHENTICATED")


def test_our_asyncio_client_sends_its_token(secured: Server) -> None:
    """Likewise."""

    async def talk() -> None:
        async with AsyncClient(secured.app.address, token=lambda: SOME) as client:
            assert (await client.infer("affine", x=ONES)).model_name == "affine"
        async with AsyncClient(secured.app.address) as client:
            with pytest.raises(Unauthenticated, match=r"^expected the metadata"):
                await client.infer("affine", x=ONES)

    asyncio.run(talk())


@needs_openssl
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_with_tls_tokens_are_asked_for_as_without(models: Path, tmp_path: Path, transport: str) -> None:
    """Encryption lets nobody in by itself."""
    authority = TestAuthority(tmp_path)
    identity = authority.identity("server")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{SOME} inference,metadata\n")
    tls = TLS(ca=authority.certificate)
    served: dict[str, Any] = {
        "grpc_use_ssl": True,
        "grpc_server_cert": identity.certificate,
        "grpc_server_key": identity.key,
        "auth_tokens_file": tokens,
    }
    channel = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    with Server(models, transport, credentials=channel, **served) as server:
        with Client(server.app.address, tls=tls, token=SOME) as client:
            assert client.infer("affine", x=ONES).model_name == "affine"
            with pytest.raises(PermissionDenied):
                client.statistics()
        with Client(server.app.address, tls=tls) as client:
            assert client.live()
            for call in (lambda: client.infer("affine", x=ONES), lambda: client.metadata("affine")):
                with pytest.raises(Unauthenticated, match=r"^expected the metadata"):
                    call()


def test_tritonclient_sends_headers_for_a_token(secured: Server) -> None:
    """Unmodified, with ``headers=``."""
    by_tritonclient(secured, dict(bearer(ALL)))


def test_tritonclient_sends_headers_for_restricted_protocols(restricted: Server) -> None:
    """As its documentation has it for Triton."""
    by_tritonclient(restricted, dict([ADMIN, INFERS]))


def by_tritonclient(server: Server, sent: dict[str, str]) -> None:
    """Inference, a stream, configuration and control: with what must be sent, and without."""
    triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
    refused: Any = pytest.importorskip("tritonclient.utils").InferenceServerException
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(ONES)
    with triton.InferenceServerClient(server.app.address) as client:
        assert client.infer("affine", [x], headers=sent).get_response().model_name == "affine"
        assert client.get_model_config("affine", headers=sent).config.name == "affine"
        assert client.get_model_repository_index(headers=sent).models
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        client.start_stream(lambda result, error: answers.put((result, error)), headers=sent)
        client.async_stream_infer("affine", [x])
        result, error = answers.get(timeout=CALL_TIMEOUT_S)
        client.stop_stream()
        assert (result.get_response().model_name, error) == ("affine", None)
        with pytest.raises(refused, match="expected the metadata") as caught:
            client.infer("affine", [x])
        assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        with pytest.raises(refused, match="expected the metadata"):
            client.unload_model("affine", headers={"authorization": "Bearer no"})


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_token_is_revoked_by_taking_its_line_out(models: Path, tmp_path: Path, transport: str) -> None:
    """On a connection that is open and has used it. A stream that has begun goes on; new calls are refused."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{ALL}\n{SOME}\n")
    refused = (grpc.StatusCode.UNAUTHENTICATED, UNKNOWN)
    with Server(models, transport, auth_tokens_file=tokens) as server:
        stream = Conversation(server.channel, STREAM, timeout=CALL_TIMEOUT_S, metadata=bearer(SOME))
        stream.send(REQUEST)
        stream.read()
        server.infer(REQUEST, metadata=bearer(SOME))
        tokens.write_text(f"{ALL}\n{WRONG} inference\n")
        eventually(lambda: outcome(server, INFER, bearer(SOME), REQUEST) == refused, "the token is gone")
        server.infer(REQUEST, metadata=bearer(ALL))
        server.infer(REQUEST, metadata=bearer(WRONG))
        assert outcome(server, METHODS["ModelConfig"].path, bearer(SOME)) == refused
        assert outcome(server, STREAM, bearer(SOME)) == refused
        stream.send(REQUEST)
        stream.read()
        stream.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_log_shows_a_secret(models: Path, tmp_path: Path, transport: str) -> None:
    """At its most talkative: right and wrong ones, a file that changes and one that is none, standard error too."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{ALL}\n")
    words = [
        *(
            "--auth-tokens-file",
            str(tokens),
            "--grpc-restricted-protocol",
            f"trace:{ADMIN[0].removeprefix('triton-grpc-protocol-')}={ADMIN[1]}",
        ),
        *("--log-level", "debug", "--transport", transport, "--model-control-mode", "explicit", "--load-model", "*"),
    ]
    with serving(str(models), *QUICK, *words) as process, process.killed_on_failure():
        address = process.wait_for("serving")["address"]
        with grpc.insecure_channel(address) as channel:
            infer: Any = channel.unary_unary(INFER)
            infer(REQUEST, metadata=bearer(ALL), timeout=CALL_TIMEOUT_S)
            for path in (INFER, METHODS["TraceSetting"].path, METHODS["RepositoryModelUnload"].path):
                for headers in (bearer(WRONG), bearer(ALL), [*bearer(ALL), (ADMIN[0], "not-the-value")]):
                    call: Any = channel.unary_unary(path)
                    with pytest.raises(grpc.RpcError):
                        call(b"\xff", metadata=headers, timeout=CALL_TIMEOUT_S)
        refusal = process.wait_for("access denied (logged at most once a minute)")
        tokens.write_text(f"{ALL}\n{SOME} {WRONG}\n")
        problem = process.wait_for(
            f"tokens stay as they were: auth_tokens_file: line 2 of '{tokens}': after the token, expected one list of "
            "protocols such as inference,metadata; there are health, metadata, inference, shared-memory, model-config, "
            "model-repository, statistics, trace, logging"
        )
        tokens.write_text(f"{ALL}\n{SOME}\n")
        again = process.wait_for("tokens read again")
        process.popen.send_signal(signal.SIGTERM)
        assert process.exit_code() == 0
        said = "".join(process.lines) + process.errors()
    assert (refusal["level"], refusal["method"], refusal["reason"]) == ("warning", INFER, "UNAUTHENTICATED")
    assert problem["level"] == "error"
    assert again["tokens"] == 2
    for secret in (ALL, SOME, WRONG, ADMIN[1], "not-the-value"):
        assert secret not in said


@pytest.mark.usefixtures("log_as_before")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--grpc-restricted-protocol=model-repository,health:k1=v1", "--grpc-restricted-protocol=health:k2=v2"],
            "grpc_restricted_protocol: protocol 'health' is named more than once; name it in one group only",
        ),
        (
            ["--grpc-restricted-protocol=model-reposit:k1=v1"],
            (
                "grpc_restricted_protocol: unknown protocol 'model-reposit'; there are health, metadata, inference, "
                "shared-memory, model-config, model-repository, statistics, trace, logging"
            ),
        ),
        (
            ["--auth-tokens-file", "{folder}/none"],
            "auth_tokens_file: cannot read '{folder}/none': No such file or directory",
        ),
        (
            ["--auth-tokens-file", "{folder}/short"],
            (
                "auth_tokens_file: line 1 of '{folder}/short': expected a token, which has 16 characters or more, all "
                "of A-Z a-z 0-9 - . _ ~ + / and = at its end"
            ),
        ),
    ],
)
def test_flags_that_say_nothing_sensible_end_the_command(
    models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: Sequence[str], text: str
) -> None:
    """One line and exit code 2, before any model is loaded."""
    (tmp_path / "short").write_text("short\n")
    arguments = [word.format(folder=tmp_path) for word in words]
    assert run(["serve", str(models), *QUICK, *arguments]) == ExitCode.USAGE
    written = capfd.readouterr()
    assert written.err == f"sardonyx: {text.format(folder=tmp_path)}\n"
    assert "loaded" not in written.out


def test_settings_are_shown_without_their_secrets(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table and as JSON."""
    words = ["serve", str(models), "--grpc-restricted-protocol", "inference,trace:infer-key=secret", "--show-settings"]
    assert run(words) == ExitCode.OK
    assert run([*words, "--json"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "secret" not in shown
    assert json.loads(shown[shown.index("{") :])["grpc_restricted_protocol"] == {
        "value": "inference,trace:infer-key=...",
        "source": "flag",
        "where": "--grpc-restricted-protocol",
    }
