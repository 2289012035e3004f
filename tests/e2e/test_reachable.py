"""Which RPCs can be reached: those that are listed, each past the authorisation hook, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from sardonyx_server.errors import Forbidden
from sardonyx_server.rpc.other_rpcs.methods import RPCS, InferenceRpc
from sardonyx_server.rpc.other_rpcs.peer import PEER_KEY
from sardonyx_server.rpc.other_rpcs.reflection import HEALTH_SERVICE, REFLECTION_SERVICES
from sardonyx_wire.messages import METHODS, SERVICE
from tests.e2e.messages import failure_of
from tests.e2e.servers import CALL_TIMEOUT_S, INFER, TRANSPORTS, Server
from tests.server.rpc.doubles import Asks

REFLECT: Final = f"/{REFLECTION_SERVICES[0]}/ServerReflectionInfo"
HEALTH: Final[Any] = health_pb2.DESCRIPTOR.services_by_name["Health"]
LISTED: Final = frozenset(
    {
        *(f"/{SERVICE}/{name}" for name in RPCS),
        *(f"/{HEALTH_SERVICE}/{method.name}" for method in HEALTH.methods),
        *(f"/{service}/ServerReflectionInfo" for service in REFLECTION_SERVICES),
    }
)
"""Every RPC that may be reached."""


class Hook:
    """An authorisation that is told of every call, and lets through what it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.allows = False

    def __call__(self, method: str, metadata: Sequence[tuple[str, str | bytes]], peer: str) -> None:
        """See ``rpc.access_control.AccessControl.check``."""
        assert ("who", "me") in metadata
        assert peer.startswith(("ipv4:", "ipv6:"))
        self.asked.append(method)
        if not self.allows:
            raise Forbidden("not you")


@pytest.fixture(scope="module")
def hook() -> Hook:
    """Of the server below."""
    return Hook()


@pytest.fixture(scope="module", params=TRANSPORTS)
def guarded(request: pytest.FixtureRequest, models: Path, hook: Hook) -> Iterator[Server]:
    """A server that asks the hook."""
    with Server(models, request.param, access_control=Asks(hook)) as running:
        yield running


def reflected(server: Server) -> set[str]:
    """Paths of all methods, as a caller finds them."""
    call = server.channel.stream_stream(
        REFLECT,
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )

    def ask(*requests: ServerReflectionRequest) -> list[ServerReflectionResponse]:
        return list(call(iter(requests), timeout=CALL_TIMEOUT_S))

    (listing,) = ask(ServerReflectionRequest(list_services=""))
    names = [each.name for each in listing.list_services_response.service]
    answers = ask(*(ServerReflectionRequest(file_containing_symbol=name) for name in names))
    files = [
        FileDescriptorProto.FromString(file)
        for answer in answers
        for file in answer.file_descriptor_response.file_descriptor_proto
    ]
    return {
        f"/{file.package}.{service.name}/{method.name}"
        for file in files
        for service in file.service
        for method in service.method
    }


def registered(server: Server) -> set[str]:
    """Paths that grpc was told to serve. The lane takes its own off a queue that grpc does not list."""
    stock: Any = server.app._server
    state = stock._state
    handlers = {path for handler in state.generic_handlers for path in handler._method_handlers}
    return handlers | set(state.registered_method_handlers)


def refusal(server: Server, path: str, message: bytes) -> grpc.StatusCode:
    """Status of a call with one message; whichever kind of call it is, one message and its end suit it."""
    call = server.channel.stream_stream(path)(iter([message]), metadata=[("who", "me")], timeout=CALL_TIMEOUT_S)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    return failure_of(caught.value).code


def test_reflection_shows_what_the_table_lists(server: Server) -> None:
    """No more and no less."""
    assert reflected(server) == LISTED


def test_the_table_is_the_protocol() -> None:
    """Each RPC of the .proto file is served, or refused with a reason."""
    assert set(RPCS) == set(METHODS)


def test_grpc_serves_nothing_that_is_not_listed(server: Server) -> None:
    """What the lane takes is missing here, and only that."""
    hot = {f"/{SERVICE}/{name}" for name, rpc in RPCS.items() if isinstance(rpc, InferenceRpc)}
    assert INFER in hot
    assert registered(server) == (LISTED - hot if server.transport == "lane" else LISTED)


@pytest.mark.parametrize("message", [b"", b"\xff\xff"], ids=["empty", "malformed"])
@pytest.mark.parametrize("path", sorted(LISTED))
def test_every_call_of_every_service_asks_the_hook_first(
    guarded: Server, hook: Hook, path: str, message: bytes
) -> None:
    """Once, with the full name of the method, before anything of the message is read."""
    hook.asked.clear()
    assert refusal(guarded, path, message) is grpc.StatusCode.PERMISSION_DENIED
    assert hook.asked == [path]


def test_who_is_let_through_is_served(guarded: Server, hook: Hook) -> None:
    """The hook is the only thing in the way."""
    hook.allows = True
    try:
        assert guarded.call("ServerLive", metadata=[("who", "me")]).live
        code = refusal(guarded, INFER, b"")
    finally:
        hook.allows = False
    assert code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "path",
    [
        f"/{SERVICE}/modelInfer",
        f"/{SERVICE}/ModelInfer/",
        f"/{SERVICE}/",
        f"//{SERVICE}/ModelInfer",
        f"/{SERVICE.lower()}/ModelInfer",
        "/ModelInfer",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/grpc.health.v2.Health/Check",
    ],
)
def test_nothing_else_is_there(guarded: Server, hook: Hook, path: str) -> None:
    """Not under a name that looks alike, and not what grpc could bring along. The hook need not be asked."""
    hook.asked.clear()
    assert refusal(guarded, path, b"") is grpc.StatusCode.UNIMPLEMENTED
    assert not hook.asked


def abstract_sockets() -> set[str]:
    """Names of this process's abstract Unix sockets, as every local user may read them."""
    own = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            own.add(os.readlink(descriptor))  # noqa: PTH115  # what it links to is no path
    rows = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {row[7][1:] for row in rows if row[7:] and row[7].startswith("@") and f"socket:[{row[6]}]" in own}


@pytest.fixture(scope="module")
def open_to_all(models: Path) -> Iterator[tuple[Server, Any]]:
    """A server on the lane without access control, and a channel to the socket behind the lane."""
    before = abstract_sockets()
    with Server(models, "lane", self_check=lambda: "") as running:
        (name,) = abstract_sockets() - before
        with grpc.insecure_channel(f"unix-abstract:{name}") as behind:
            yield running, behind


@pytest.mark.parametrize(
    "claimed",
    [None, "", "ipv4:127.0.0.1:1", f"{'0' * 64} ipv4:127.0.0.1:1"],
    ids=["nothing", "empty", "a peer", "a secret"],
)
@pytest.mark.parametrize("path", sorted(LISTED))
def test_nobody_is_served_past_the_lane(open_to_all: tuple[Server, Any], path: str, claimed: str | None) -> None:
    """Though every local process can connect there: with mutual TLS it would need no certificate."""
    server, behind = open_to_all
    metadata = [("who", "me")] if claimed is None else [(PEER_KEY, claimed)]
    call = behind.stream_stream(path)(iter([b""]), metadata=metadata, timeout=CALL_TIMEOUT_S)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    failure = failure_of(caught.value)
    if path in registered(server):
        assert failure.code is grpc.StatusCode.UNAUTHENTICATED
        assert failure.message == "this socket is internal to the server; call the server's port instead"
    else:
        assert failure.code is grpc.StatusCode.UNIMPLEMENTED


def test_through_the_lane_all_are_served(open_to_all: tuple[Server, Any]) -> None:
    """Whatever a caller says of itself: it is dropped. Reflection and a watch of the health service too."""
    server, _ = open_to_all
    assert server.call("ServerLive", metadata=[(PEER_KEY, "ipv4:127.0.0.1:1")]).live
    assert reflected(server) == LISTED
    watch = server.channel.unary_stream(
        f"/{HEALTH_SERVICE}/Watch", response_deserializer=health_pb2.HealthCheckResponse.FromString
    )(b"", timeout=CALL_TIMEOUT_S)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
