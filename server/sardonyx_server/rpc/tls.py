"""TLS of the gRPC port, on either transport: loads certificates from files, and reloads them after they were renewed.

Uses no sockets. The files are checked when the server starts. A renewed certificate that cannot be used is refused, and
the previous one stays in use.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from sardonyx_server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sardonyx_server.settings import Settings

__all__ = ["ALPN_PROTOCOL", "Certificates", "Pem", "TlsFiles"]

_LOG = logging.getLogger("sardonyx.tls")

ALPN_PROTOCOL: Final = "h2"
"""Name of HTTP/2 in ALPN (RFC 9113, section 3.2)."""

# Interval between two checks of the files. Each check takes up to three system calls, one for each file.
_LOOK_S: Final = 10.0
# Cipher suites of TLS 1.2 that HTTP/2 allows (RFC 9113, appendix A). TLS 1.3 has only such suites.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


_Marks: TypeAlias = list[tuple[int, ...] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Paths of the certificates and the key, all in PEM.

    Attributes:
        certificate: The server's certificate, followed by the intermediate certificates.
        key: Private key of the server's certificate; not encrypted.
        root: Root certificates that client certificates must be issued by; None = clients need no certificate.
    """

    certificate: Path
    key: Path
    root: Path | None

    @classmethod
    def of(cls, settings: Settings) -> TlsFiles | None:
        """The files that the settings name; None = no TLS."""
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
    """The certificates in use. Any thread.

    Args:
        files: Their paths.
        clock: Monotonic time in seconds.

    Raises:
        SettingsError: The files cannot be used.
    """

    def __init__(self, files: TlsFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        # Marks of the files in use, and what was last logged of others that cannot be used.
        self._loaded_as = self._marks()
        self._refused: tuple[_Marks, str] | None = None
        self._context, self._pem = _loaded(files)
        self._next_look_s = clock() + _LOOK_S

    @property
    def asks_callers(self) -> bool:
        """Whether clients must have a certificate (mutual TLS)."""
        return self._files.root is not None

    def context(self) -> ssl.SSLContext:
        """The TLS context for a new connection."""
        self._look()
        return self._context

    def pem(self) -> Pem:
        """The current files' contents, for a transport that makes its own context."""
        self._look()
        return self._pem

    def _look(self) -> None:
        """Reload the files if a check is due and they have changed."""
        with self._lock:
            now_s = self._clock()
            if now_s < self._next_look_s:
                return
            self._next_look_s = now_s + _LOOK_S
            marks = self._marks()
            if marks == self._loaded_as:
                return
            try:
                self._context, self._pem = _loaded(self._files)
            except SettingsError as error:
                # Tried again at the next look, since the reason may be gone without a trace in the files; logged once.
                if self._refused != (marks, error.message):
                    self._refused = marks, error.message
                    _LOG.warning(
                        "a new certificate cannot be used; the one before it stays", extra={"reason": error.message}
                    )
            else:
                self._loaded_as, self._refused = marks, None
                _LOG.info("certificates were read again, for connections from now on")

    def _marks(self) -> _Marks:
        """Status of each file, which differs after each change; None if it cannot be looked up."""
        marks: _Marks = []
        for path in self._files.all.values():
            try:
                status = path.stat()
            except OSError:
                marks.append(None)
            else:
                # The last one alone tells of a new owner or mode, with which a key becomes readable.
                marks.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        return marks


def _loaded(files: TlsFiles) -> tuple[ssl.SSLContext, Pem]:
    """Read and check the files.

    Raises:
        SettingsError: A file cannot be read or is invalid, or certificate and key do not match.
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
            # Between certificates there may be any text.
            context.load_verify_locations(cadata=root.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError) as error:  # ValueError: it is empty
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
    """Load the server's certificate and its key."""
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
    except OSError as error:
        raise SettingsError(
            f"grpc_server_cert and grpc_server_key: cannot read {certificate!r} and {key!r}: {error.strerror}"
        ) from error


class _Encrypted(Exception):
    """A key needs a passphrase."""


def _no_password() -> str:
    raise _Encrypted


def _reason(error: ssl.SSLError | ValueError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return (reason or "no PEM").replace("_", " ").lower()
