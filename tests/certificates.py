"""Certificates for tests, made by the command openssl: an authority, and what it has signed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SERVER_NAME", "Identity", "TestAuthority", "needs_openssl", "said_by_openssl"]

_OPENSSL: Final = shutil.which("openssl")
needs_openssl: Final = pytest.mark.skipif(_OPENSSL is None, reason="needs the command openssl to make certificates")

SERVER_NAME: Final = "models.example"
"""A name that no resolver knows, which certificates are for besides 127.0.0.1 and localhost."""

_NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def said_by_openssl(address: str, *options: str, typed: bytes = b"") -> str:
    """Connect with openssl's own client, and return what it says of errors."""
    command = [str(_OPENSSL), "s_client", "-connect", address, *options]
    done = subprocess.run(command, input=typed, capture_output=True, timeout=60, check=False)
    return done.stderr.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path

    @property
    def pem(self) -> tuple[bytes, bytes]:
        """Key and certificate, in the order in which grpcio wants them."""
        return self.key.read_bytes(), self.certificate.read_bytes()


class TestAuthority:
    """Signs certificates that are good for both sides.

    Args:
        folder: For all files; exists.
        name: Of the authority.

    Attributes:
        certificate: Its own, in a file.
    """

    __test__ = False

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        arguments = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")
        self._openssl("req", "-x509", *_NEW_KEY, *arguments)

    def identity(self, name: str, *, days: int = 2) -> Identity:
        """A new one.

        Args:
            name: Of its files.
            days: How long it is valid, from now on; below 0 = not any more.
        """
        folder = self._folder
        request = ("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={SERVER_NAME}")
        self._openssl("req", *_NEW_KEY, *request)
        (folder / "names").write_text(f"subjectAltName=DNS:{SERVER_NAME},DNS:localhost,IP:127.0.0.1")
        signing = ("-CA", f"{self._name}.pem", "-CAkey", f"{self._name}.key", "-CAcreateserial", "-extfile", "names")
        self._openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-days", str(days), "-out", f"{name}.pem")
        return Identity(folder / f"{name}.pem", folder / f"{name}.key")

    def encrypted(self, identity: Identity) -> Path:
        """A copy of a key that needs a passphrase."""
        path = identity.key.with_suffix(".encrypted")
        self._openssl("pkey", "-in", str(identity.key), "-aes256", "-passout", "pass:secret", "-out", str(path))
        return path

    def _openssl(self, *arguments: str) -> None:
        subprocess.run([str(_OPENSSL), *arguments], cwd=self._folder, check=True, capture_output=True)
