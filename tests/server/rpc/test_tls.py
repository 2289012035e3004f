"""Certificates in files: which the server can use, and what becomes of those that are renewed."""

from __future__ import annotations

import errno
import logging
import shutil
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_server.errors import SettingsError
from sardonyx_server.rpc.tls import Certificates, TlsFiles
from sardonyx_server.settings import Settings
from tests.certificates import TestAuthority, needs_openssl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.certificates import Identity

pytestmark = needs_openssl


class Clock:
    """Goes on when it is told to."""

    now_s = 0.0

    def read(self) -> float:
        """The time."""
        return self.now_s


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """Made once."""
    return TestAuthority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def own(authority: TestAuthority) -> Identity:
    """The server's."""
    return authority.identity("own")


@pytest.fixture(scope="module")
def renewed(authority: TestAuthority) -> Identity:
    """The one that comes after it."""
    return authority.identity("renewed")


@pytest.fixture
def files(own: Identity, tmp_path: Path) -> TlsFiles:
    """Copies of the server's, which a test may change."""
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    shutil.copy(own.certificate, certificate)
    shutil.copy(own.key, key)
    return TlsFiles(certificate=certificate, key=key, root=None)


def test_files_come_from_settings(own: Identity) -> None:
    """Without TLS there are none; the root is for callers that must have a certificate."""
    both: dict[str, Any] = {"grpc_server_cert": own.certificate, "grpc_server_key": own.key}
    assert TlsFiles.of(Settings()) is None
    expected = TlsFiles(certificate=own.certificate, key=own.key, root=None)
    assert TlsFiles.of(Settings(grpc_use_ssl=True, **both)) == expected
    mutual = TlsFiles.of(Settings(grpc_use_ssl_mutual=True, **both, grpc_root_cert=own.certificate))
    assert mutual is not None
    assert mutual.root == own.certificate


def test_what_is_spoken(own: Identity, authority: TestAuthority) -> None:
    """TLS 1.2 at least, the ciphers that HTTP/2 allows, no renegotiation; with a root callers need a certificate."""
    plain = Certificates(TlsFiles(certificate=own.certificate, key=own.key, root=None))
    context = plain.context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    old = [each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"]
    assert old
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name) for name in old)
    assert context.verify_mode == ssl.CERT_NONE
    assert not plain.asks_callers
    mutual = Certificates(TlsFiles(certificate=own.certificate, key=own.key, root=authority.certificate))
    assert mutual.context().verify_mode == ssl.CERT_REQUIRED
    assert mutual.asks_callers
    assert mutual.pem().root == authority.certificate.read_bytes()


def test_files_that_cannot_be_used_are_told_by_name(
    authority: TestAuthority, own: Identity, renewed: Identity, tmp_path: Path
) -> None:
    """Each with what is wrong and which setting says so."""
    junk, encrypted, missing = tmp_path / "junk.pem", authority.encrypted(own), tmp_path / "missing.pem"
    junk.write_text("nothing of the kind")
    certificate, key = own.certificate, own.key

    def said(certificate: Path, key: Path, root: Path | None = None) -> str:
        with pytest.raises(SettingsError) as raised:
            Certificates(TlsFiles(certificate=certificate, key=key, root=root))
        return raised.value.message

    assert said(missing, key) == f"grpc_server_cert: cannot read {str(missing)!r}: No such file or directory"
    assert said(certificate, tmp_path) == f"grpc_server_key: cannot read {str(tmp_path)!r}: Is a directory"
    assert said(certificate, key, missing) == f"grpc_root_cert: cannot read {str(missing)!r}: No such file or directory"
    assert said(certificate, renewed.key) == (
        f"grpc_server_key: {str(renewed.key)!r} is not the key of the first certificate in grpc_server_cert "
        f"{str(certificate)!r}"
    )
    assert said(certificate, encrypted).startswith(f"grpc_server_key: {str(encrypted)!r} is encrypted, and nobody is ")
    assert said(junk, key).startswith(
        f"grpc_server_cert and grpc_server_key: expected a certificate and its key as PEM in {str(junk)!r} and "
    )
    assert said(certificate, key, junk).startswith(f"grpc_root_cert: {str(junk)!r} has no certificate that can be read")


def test_renewed_files_are_taken_without_a_restart(
    files: TlsFiles, renewed: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Looked at once in ten seconds, and read only where they are others."""
    clock = Clock()
    certificates = Certificates(files, clock.read)
    first, pem = certificates.context(), certificates.pem()
    clock.now_s = 9.9
    shutil.copy(renewed.certificate, files.certificate)
    shutil.copy(renewed.key, files.key)
    assert certificates.context() is first
    clock.now_s = 10.0
    with caplog.at_level(logging.INFO, "sardonyx.tls"):
        second = certificates.context()
        assert second is not first
        assert certificates.pem().certificate == renewed.certificate.read_bytes() != pem.certificate
        clock.now_s = 30.0
        assert certificates.context() is second
    assert caplog.messages == ["certificates were read again, for connections from now on"]


def test_what_cannot_be_used_leaves_the_old_in_place(
    files: TlsFiles, renewed: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of a new pair, or none at all: the log says it once, and when the other half has come it is taken."""
    clock = Clock()
    certificates = Certificates(files, clock.read)
    first = certificates.context()
    shutil.copy(renewed.certificate, files.certificate)
    for clock.now_s in (10.0, 20.0, 30.0):
        assert certificates.context() is first
    assert caplog.messages == ["a new certificate cannot be used; the one before it stays"]
    assert "is not the key of the first certificate" in caplog.records[0].__dict__["reason"]
    files.key.unlink()
    for clock.now_s in (40.0, 50.0):
        assert certificates.context() is first
    assert len(caplog.messages) == 2
    shutil.copy(renewed.key, files.key)
    clock.now_s = 60.0
    assert certificates.context() is not first


def test_a_half_written_key_is_taken_when_it_is_whole(files: TlsFiles, renewed: Identity) -> None:
    """Nothing, then a part of it, then all."""
    clock = Clock()
    certificates = Certificates(files, clock.read)
    first, whole = certificates.context(), renewed.key.read_bytes()
    shutil.copy(renewed.certificate, files.certificate)
    for clock.now_s, part in ((10.0, b""), (20.0, whole[:100])):
        files.key.write_bytes(part)
        assert certificates.context() is first
    files.key.write_bytes(whole)
    clock.now_s = 30.0
    assert certificates.context() is not first


@pytest.mark.parametrize("part", [b"", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nMIIB"])
def test_a_half_written_root_leaves_the_old_in_place(files: TlsFiles, authority: TestAuthority, part: bytes) -> None:
    """Also where it is empty, or no text."""
    root = files.certificate.with_name("root.pem")
    shutil.copy(authority.certificate, root)
    clock = Clock()
    certificates = Certificates(TlsFiles(certificate=files.certificate, key=files.key, root=root), clock.read)
    first = certificates.context()
    root.write_bytes(part)
    clock.now_s = 10.0
    assert certificates.context() is first
    shutil.copy(authority.certificate, root)
    clock.now_s = 20.0
    assert certificates.context() is not first


def test_another_mode_or_owner_is_a_change(files: TlsFiles, caplog: pytest.LogCaptureFixture) -> None:
    """As where a key is copied for its owner alone, and given to the server afterwards."""
    clock = Clock()
    certificates = Certificates(files, clock.read)
    first = certificates.context()
    before = files.key.stat()
    # The kernel's clock for files is coarse: the mode is changed until it has gone on.
    while files.key.stat().st_ctime_ns == before.st_ctime_ns:
        files.key.chmod(0o640)
    assert files.key.stat().st_mtime_ns == before.st_mtime_ns
    clock.now_s = 10.0
    with caplog.at_level(logging.INFO, "sardonyx.tls"):
        assert certificates.context() is not first
    assert caplog.messages == ["certificates were read again, for connections from now on"]


@pytest.mark.parametrize("call", ["read_bytes", "load_cert_chain"])
def test_files_that_cannot_be_read_once_are_read_at_the_next_look(
    files: TlsFiles, renewed: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    """Though they are the same files: descriptors may have run out, or a network file system was away."""
    clock = Clock()
    certificates = Certificates(files, clock.read)
    first = certificates.context()
    shutil.copy(renewed.certificate, files.certificate)
    shutil.copy(renewed.key, files.key)

    def no_descriptor(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(type(files.key) if call == "read_bytes" else ssl.SSLContext, call, no_descriptor)
        for clock.now_s in (10.0, 20.0):
            assert certificates.context() is first
    assert caplog.messages == ["a new certificate cannot be used; the one before it stays"]
    assert caplog.records[0].__dict__["reason"].endswith(": Too many open files")
    clock.now_s = 30.0
    assert certificates.context() is not first
    assert certificates.pem().certificate == renewed.certificate.read_bytes()
