"""Encrypted connections, with and without a certificate of the client's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sardonyx_client import TLS, InvalidArgument, Unavailable
from tests.certificates import SERVER_NAME, Identity, TestAuthority, needs_openssl
from tests.client.servers import TinyServer, echo

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """Made once."""
    return TestAuthority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def own(authority: TestAuthority) -> Identity:
    """For either side."""
    return authority.identity("own")


@pytest.mark.parametrize("mutual", [False, True])
def test_calls_go_over_tls(authority: TestAuthority, own: Identity, make: Callable[..., Any], *, mutual: bool) -> None:
    """The server proves itself; where it asks, so does the client."""
    ca, (key, certificate) = authority.certificate.read_bytes(), own.pem
    credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=mutual)
    tls = TLS(ca=ca, server_name=SERVER_NAME, **({"certificate": certificate, "key": key} if mutual else {}))
    with TinyServer(ModelInfer=echo, credentials=credentials) as server:
        with make(server.address, tls=tls) as client:
            assert client.infer("m", x=[1])["x"].tolist() == [1]
        if mutual:
            anonymous = TLS(ca=ca, server_name=SERVER_NAME)
            with make(server.address, tls=anonymous) as client, pytest.raises(Unavailable):
                client.infer("m", x=[1], timeout_s=60)


def test_a_server_that_cannot_prove_its_name_is_refused(
    authority: TestAuthority, own: Identity, make: Callable[..., Any]
) -> None:
    """Its certificate is for another name."""
    credentials = grpc.ssl_server_credentials([own.pem])
    tls = TLS(ca=authority.certificate, server_name="elsewhere.example")
    with (
        TinyServer(ModelInfer=echo, credentials=credentials) as server,
        make(server.address, tls=tls) as client,
        pytest.raises(Unavailable),
    ):
        client.infer("m", x=[1], timeout_s=60)


def test_half_an_identity_is_refused() -> None:
    """A certificate without its key."""
    with pytest.raises(InvalidArgument, match="certificate and key go together"):
        TLS(certificate=b"...")


def test_pem_may_be_given_by_its_path(tmp_path: Path) -> None:
    """As text or as a Path; what is read is what the file holds."""
    pem = b"-----BEGIN CERTIFICATE-----\n"
    (tmp_path / "ca.pem").write_bytes(pem)
    own = tmp_path / "own.pem"
    own.write_bytes(b"a comment\n" + pem)
    assert TLS(ca=str(tmp_path / "ca.pem"), certificate=own, key=pem).pems() == (pem, pem, b"a comment\n" + pem)


@pytest.mark.parametrize(
    ("ca", "text"),
    [
        (
            "nowhere/ca.pem",
            "TLS: ca: cannot read 'nowhere/ca.pem': No such file or directory; give a path, or PEM as bytes",
        ),
        (b"junk", "TLS: ca: expected PEM, but 4 bytes has no line '-----BEGIN ...'"),
        (Path("/dev/null"), "TLS: ca: expected PEM, but '/dev/null' has no line '-----BEGIN ...'"),
        (7, "TLS: ca: expected PEM as bytes or a path, got int"),
    ],
)
def test_what_is_no_pem_is_refused_when_the_client_is_made(make: Callable[..., Any], ca: Any, text: str) -> None:
    """GRPC itself would let each call fail as if there were no server."""
    with pytest.raises(InvalidArgument) as raised:
        make("127.0.0.1:1", tls=TLS(ca=ca))
    assert raised.value.message == text


def test_a_key_that_is_given_as_text_is_not_shown() -> None:
    """Text is taken for a path; the message of the mistake may land in a log."""
    with pytest.raises(InvalidArgument) as raised:
        TLS(certificate=b"-----BEGIN", key="-----BEGIN PRIVATE KEY-----\nsecret").pems()
    assert "secret" not in raised.value.message
