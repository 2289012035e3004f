"""TLS of gRPC's port, on either transport: certificates of files, looked at again when they may have been renewed.

Knows no sockets. What is read is checked when the server starts; what is renewed later and cannot be used is refused,
and the certificate before it stays.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sardonyx_server.settings import Settings

__all__ = ["ALPN_PROTOCOL", "Certificates", "Pem", "TlsFiles"]

_LOG = logging.getLogger("sardonyx.tls")

ALPN_PROTOCOL: Final = "h2"
"""How HTTP/2 is called within TLS (RFC 9113, section 3.2)."""

# Between two looks at the files: three system calls for each.
_LOOK_S: Final = 10.0
# Of TLS 1.2: those that HTTP/2 allows (RFC 9113, appendix A). TLS 1.3 has no others.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where certificates lie, all of them PEM.

    Attributes:
        certificate: The server's own, then those between it and its root.
        key: Of the server's own; not encrypted.
        root: Whose certificates callers must have; None = callers need none.
    """

    certificate: Path
    key: Path
    root: Path | None

    @classmethod
    def of(cls, settings: Settings) -> TlsFiles | None:
        """As the operator set them; None = no TLS."""
        certificate, key = settings.grpc_server_cert, settings.grpc_server_key
        if certificate is None or key is None:
            return None
        return cls(certificate=certificate, key=key, root=settings.grpc_root_cert)

    @property
    def all(self) -> dict[str, Path]:
        """Name of the setting -> file."""
        files = {"grpc_server_cert": self.certificate, "grpc_server_key": self.key}
        return files if self.root is None else {**files, "grpc_root_cert": self.root}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """Contents of the files; see :class:`TlsFiles`."""

    certificate: bytes
    key: bytes
    root: bytes | None


class Certificates:
    """Those in use. Any thread.

    Args:
        files: Where they lie.
        clock: Seconds, monotonic.

    Raises:
        SettingsError: They cannot be used.
    """

    def __init__(self, files: TlsFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = self._marks()
        self._context, self._pem = _loaded(files)
        self._next_look_s = clock() + _LOOK_S

    @property
    def asks_callers(self) -> bool:
        """Whether callers must have a certificate, too."""
        return self._files.root is not None

    def context(self) -> ssl.SSLContext:
        """For a connection that begins now."""
        self._look()
        return self._context

    def pem(self) -> Pem:
        """The same, for whoever makes a context of its own."""
        self._look()
        return self._pem

    def _look(self) -> None:
        """Take what is new on disk, where it is time to look and there is something new."""
        with self._lock:
            now_s = self._clock()
            if now_s < self._next_look_s:
                return
            self._next_look_s = now_s + _LOOK_S
            marks = self._marks()
            if marks == self._seen:
                return
            # Also where it cannot be used: said once, and looked at again when it changes again.
            self._seen = marks
            try:
                self._context, self._pem = _loaded(self._files)
            except SettingsError as error:
                _LOG.warning(
                    "a new certificate cannot be used; the one before it stays", extra={"reason": error.message}
                )
            else:
                _LOG.info("certificates were read again, for connections from now on")

    def _marks(self) -> list[tuple[int, int, int] | None]:
        """What tells whether a file is another one; None for one that is not there."""
        marks: list[tuple[int, int, int] | None] = []
        for path in self._files.all.values():
            try:
                status = path.stat()
            except OSError:
                marks.append(None)
            else:
                marks.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return marks


def _loaded(files: TlsFiles) -> tuple[ssl.SSLContext, Pem]:
    """Read and check them.

    Raises:
        SettingsError: One cannot be read or is none, or they do not belong together.
    """
    read = {name: _read(name, path) for name, path in files.all.items()}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols([ALPN_PROTOCOL])
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_own(context, files)
    root = read.get("grpc_root_cert")
    if root is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=root.decode("ascii", "replace"))
        except ssl.SSLError as error:
            raise SettingsError(
                f"grpc_root_cert: {str(files.root)!r} has no certificate that can be read ({_reason(error)}); expected "
                "PEM with lines '-----BEGIN CERTIFICATE-----'"
            ) from error
    return context, Pem(certificate=read["grpc_server_cert"], key=read["grpc_server_key"], root=root)


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{name}: cannot read {str(path)!r}: {error.strerror}") from error


def _load_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Load the server's own certificate and its key."""
    certificate, key = str(files.certificate), str(files.key)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        raise SettingsError(
            f"grpc_server_key: {key!r} is encrypted, and nobody is there to be asked for its passphrase; decrypt it "
            "with 'openssl pkey' and keep it readable for the server alone"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"grpc_server_key: {key!r} is not the key of the first certificate in grpc_server_cert {certificate!r}"
            ) from error
        raise SettingsError(
            f"grpc_server_cert and grpc_server_key: expected a certificate and its key as PEM in {certificate!r} and "
            f"{key!r} ({_reason(error)})"
        ) from error


class _Encrypted(Exception):
    """A key needs a passphrase."""


def _no_password() -> str:
    raise _Encrypted


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "no PEM").replace("_", " ").lower()
