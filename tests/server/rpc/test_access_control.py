"""Who may call what: the table of methods, what a call must carry, and the words for one that does not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.errors import Forbidden, Unauthenticated
from sardonyx_server.rpc.access_control import PROTOCOL_OF, PUBLIC_METHODS, AccessControl, AccessPolicy, digest
from sardonyx_server.rpc.other_rpcs.methods import RPCS
from sardonyx_server.rpc.other_rpcs.reflection import HEALTH_SERVICE, REFLECTION_SERVICES
from sardonyx_server.setting_types import PROTOCOLS, Restriction
from sardonyx_wire.messages import METHODS, SERVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.rpc.access_control import Metadata

ALL = "0123456789abcdef0123456789abcdef"
SOME = "infers-only-0123456789"
TOKENS = {
    digest(ALL.encode()): frozenset(PROTOCOLS),
    digest(SOME.encode()): frozenset({"inference", "metadata"}),
}
INFER = METHODS["ModelInfer"].path
UNLOAD = METHODS["RepositoryModelUnload"].path
KEY = Restriction(protocols=("model-repository", "health"), header="triton-grpc-protocol-admin", value="pass word")
UNKNOWN = "expected the metadata 'authorization: Bearer TOKEN', once, with a token that this server knows"


def bearer(token: str) -> tuple[str, str]:
    """As clients send it."""
    return "authorization", f"Bearer {token}"


def allowed(policy: AccessPolicy, method: str, *metadata: tuple[str, str | bytes]) -> bool:
    """Whether a call is; not whether its token is known."""
    try:
        policy.check(method, metadata)
    except (Forbidden, Unauthenticated):
        return False
    return True


def test_every_method_of_every_service_is_in_the_table_and_no_other() -> None:
    """What is not there is refused as a bug, so a new RPC that has been forgotten lets nobody in."""
    health = health_pb2.DESCRIPTOR.services_by_name["Health"]
    assert set(PROTOCOL_OF) == {
        *(f"/{SERVICE}/{name}" for name in RPCS),
        # grpcio-health-checking has List in newer releases only.
        *(f"/{HEALTH_SERVICE}/{name}" for name in {"List", *(method.name for method in health.methods)}),
        *(f"/{service}/ServerReflectionInfo" for service in REFLECTION_SERVICES),
    }
    assert set(PROTOCOL_OF.values()) == set(PROTOCOLS)
    with pytest.raises(KeyError):
        AccessPolicy((), TOKENS).check("/new.Service/Method", [bearer(ALL)])


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        ("health", ["ModelReady", "ServerLive", "ServerReady"]),
        ("metadata", ["ModelMetadata", "ServerMetadata"]),
        ("inference", ["ModelInfer", "ModelStreamInfer"]),
        ("model-config", ["ModelConfig"]),
        ("model-repository", ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"]),
        ("statistics", ["ModelStatistics"]),
        ("trace", ["TraceSetting"]),
        ("logging", ["LogSettings"]),
        (
            "shared-memory",
            [
                f"{kind}SharedMemory{what}"
                for kind in ("Cuda", "System")
                for what in ("Register", "Status", "Unregister")
            ],
        ),
    ],
)
def test_methods_are_grouped_as_triton_groups_them(protocol: str, names: Sequence[str]) -> None:
    """src/grpc/grpc_server.cc there: RestrictedCategory of each RPC."""
    assert sorted(name for name in METHODS if PROTOCOL_OF[METHODS[name].path] == protocol) == names


def test_health_is_public_but_what_names_models() -> None:
    """A probe has no token."""
    policy = AccessPolicy((), TOKENS)
    public = {method for method in PROTOCOL_OF if allowed(policy, method)}
    assert public == PUBLIC_METHODS
    assert {method.rpartition("/")[2] for method in public} == {"Check", "Watch", "ServerLive", "ServerReady"}


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [bearer("")],
        [bearer(ALL[:-1])],
        [bearer(ALL + "0")],
        [bearer(ALL.upper())],
        [bearer("nobody's token 0123456789")],
        [("authorization", ALL)],
        [("authorization", f"Basic {ALL}")],
        [("authorization", f"Bearer, {ALL}")],
        [("authorization", f"Bearer{ALL}")],
        [("authorization", f"Bearer\t{ALL}")],
        [("authorization", f"Bearer {ALL}, Bearer {ALL}")],
        [("authorization", "Bearer \udce4\u20ac")],
        [bearer(ALL), bearer(ALL)],
        [bearer(ALL), bearer("another")],
        [("authorization-bin", f"Bearer {ALL}".encode())],
        [("proxy-authorization", f"Bearer {ALL}")],
        [("triton-grpc-protocol-admin", ALL)],
    ],
)
def test_whatever_is_wrong_with_a_token_the_words_are_the_same(metadata: Metadata) -> None:
    """And hold nothing that came."""
    with pytest.raises(Unauthenticated) as caught:
        AccessPolicy((), TOKENS).check(INFER, metadata)
    assert caught.value.message == UNKNOWN


@pytest.mark.parametrize("value", [f"Bearer {ALL}", f"bearer {ALL}", f"BEARER  {ALL} "])
def test_the_scheme_is_read_in_any_case(value: str) -> None:
    """RFC 9110, section 11.1; blanks as in its grammar."""
    AccessPolicy((), TOKENS).check(INFER, [("x", "y"), ("authorization", value)])


def test_a_token_may_be_good_for_some_protocols_only() -> None:
    """PERMISSION_DENIED says what it is good for; what needs no token it may do as everybody."""
    policy = AccessPolicy((), TOKENS)
    with pytest.raises(Forbidden) as caught:
        policy.check(UNLOAD, [bearer(SOME)])
    assert caught.value.message == (
        "the token that came may not call model-repository, only metadata, inference; ask the operator for another"
    )
    may = {method for method in PROTOCOL_OF if allowed(policy, method, bearer(SOME))}
    assert may == PUBLIC_METHODS | {m for m, protocol in PROTOCOL_OF.items() if protocol in {"inference", "metadata"}}
    assert all(allowed(policy, method, bearer(ALL)) for method in PROTOCOL_OF)


def test_a_restricted_protocol_needs_its_header_and_the_others_nothing() -> None:
    """As with Triton; health is asked like any other protocol."""
    policy = AccessPolicy((KEY,), None)
    restricted = {method for method, protocol in PROTOCOL_OF.items() if protocol in KEY.protocols}
    assert {method for method in PROTOCOL_OF if not allowed(policy, method)} == restricted
    assert all(allowed(policy, method, (KEY.header, "pass word")) for method in PROTOCOL_OF)


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("triton-grpc-protocol-admin", "")],
        [("triton-grpc-protocol-admin", "password")],
        [("triton-grpc-protocol-admin", "Pass word")],
        [("admin", "pass word")],
        [("triton-grpc-protocol-admin", "pass word"), ("triton-grpc-protocol-admin", "pass word")],
    ],
)
def test_whatever_is_wrong_with_a_header_the_words_are_the_same(metadata: Metadata) -> None:
    """They name the header, as Triton's do, and not the value."""
    with pytest.raises(Unauthenticated) as caught:
        AccessPolicy((KEY,), None).check(UNLOAD, metadata)
    assert caught.value.message == (
        "model-repository is restricted on this server: expected the metadata 'triton-grpc-protocol-admin', once, with "
        "the value that it was given"
    )


def test_both_are_asked_for_where_both_are_set() -> None:
    """Neither stands in for the other."""
    policy = AccessPolicy((KEY,), TOKENS)
    assert not allowed(policy, UNLOAD, bearer(ALL))
    assert not allowed(policy, UNLOAD, (KEY.header, KEY.value))
    assert allowed(policy, UNLOAD, (KEY.header, KEY.value), bearer(ALL))
    assert allowed(policy, INFER, bearer(ALL))
    assert not allowed(policy, METHODS["ServerLive"].path)


def test_where_no_token_is_left_only_what_is_public_is() -> None:
    """A file that was emptied lets nobody in."""
    policy = AccessPolicy((), {})
    assert {method for method in PROTOCOL_OF if allowed(policy, method, bearer(ALL))} == PUBLIC_METHODS


@given(
    metadata=st.lists(
        st.tuples(
            st.sampled_from(["authorization", "triton-grpc-protocol-admin", "x"]),
            st.text(max_size=40) | st.binary(max_size=40) | st.sampled_from([f"Bearer {SOME}", "pass word", "Bearer"]),
        ),
        max_size=4,
    )
)
def test_nobody_without_its_token_is_ever_let_in(metadata: list[tuple[str, str | bytes]]) -> None:
    """Whatever else is sent: the method that only ALL may call is closed."""
    assert not allowed(AccessPolicy((), TOKENS), UNLOAD, *metadata)


def test_a_refusal_is_logged_once_a_minute_and_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Who tries all the time cannot fill a disk."""
    control = AccessControl((KEY,), TOKENS)
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                control.check(INFER, [bearer("not-this-one-0123456789")], "ipv4:127.0.0.1:1")
    (record,) = caplog.records
    assert record.getMessage() == "access denied (logged at most once a minute)"
    fields = vars(record)
    assert (fields["method"], fields["peer"], fields["reason"]) == (INFER, "ipv4:127.0.0.1:1", "UNAUTHENTICATED")
    assert "not-this-one" not in str(fields)


def test_new_tokens_are_a_new_policy() -> None:
    """So that who has remembered the one that allowed a call asks again."""
    control = AccessControl((), TOKENS)
    old = control.check(INFER, [bearer(ALL)], "")
    assert old is control.policy
    control.renew({digest(SOME.encode()): frozenset(PROTOCOLS)})
    assert old is not control.policy
    with pytest.raises(Unauthenticated):
        control.check(INFER, [bearer(ALL)], "")
    control.check(UNLOAD, [bearer(SOME)], "")


def test_nothing_that_is_kept_shows_a_secret() -> None:
    """Digests alone; a restriction shows its header."""
    assert ALL not in repr(AccessPolicy((KEY,), TOKENS)._required)
    assert "pass word" not in repr(AccessPolicy((KEY,), TOKENS)._required)
    assert "pass word" not in repr(KEY)
    assert str(KEY) == "model-repository,health:admin=..."
