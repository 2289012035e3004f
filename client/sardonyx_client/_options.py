"""Options of a client, as its user gives them. _channel_config.py derives the configuration of channels from them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sardonyx_client._errors import InvalidArgument

__all__ = ["TLS", "Coalesce", "Compression", "Hedge", "Retry", "Share", "Transport"]

Compression = Literal["gzip", "deflate"]
"""Compression of messages to the server."""

Transport = Literal["auto", "grpcio"]
"""What carries inference calls: ``auto`` = the client's own HTTP/2 transport where possible, else grpcio."""

Pem = bytes | str | os.PathLike[str]
"""PEM as bytes, or the path of a PEM file."""

# gRPC's core makes at most five, whatever it is configured to.
_MAX_ATTEMPTS: Final = 5
# Its service config is limited to thousandths of a second and of a token; it rejects anything else.
_MIN_BACKOFF_S: Final = 0.001
_MAX_BACKOFF_S: Final = 86_400.0
_MIN_TOKENS: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Retry policy: only UNAVAILABLE is retried, that is, the server is not there or asks to come back later.

    Attributes:
        max_attempts: Including the first: 2 to 5.
        initial_backoff_s: Mean delay before the second attempt; later delays are longer. A delay that the server asks
            for takes precedence; if it is more than a minute, a call without ``timeout_s`` fails instead.
        max_backoff_s: Longest delay between two attempts.
        backoff_multiplier: Factor by which delays grow.
        budget: Failures in a row after which retries stop altogether; each success restores ``tokens_per_success``.
        tokens_per_success: See ``budget``.
    """

    max_attempts: int = 4
    initial_backoff_s: float = 0.05
    max_backoff_s: float = 1.0
    backoff_multiplier: float = 2.0
    budget: int = 20
    tokens_per_success: float = 0.1

    def __post_init__(self) -> None:
        if not 2 <= self.max_attempts <= _MAX_ATTEMPTS:
            raise InvalidArgument(
                f"max_attempts of a Retry: expected 2 to {_MAX_ATTEMPTS}, got {self.max_attempts}; "
                "retry=None never retries"
            )
        if not (_MIN_BACKOFF_S <= self.initial_backoff_s <= self.max_backoff_s <= _MAX_BACKOFF_S):
            raise InvalidArgument(
                f"backoff of a Retry: expected {_MIN_BACKOFF_S:g} <= initial_backoff_s <= max_backoff_s <= "
                f"{_MAX_BACKOFF_S:g}, got {self.initial_backoff_s:g} and {self.max_backoff_s:g}"
            )
        if not 1 <= self.backoff_multiplier < math.inf:
            raise InvalidArgument(
                f"backoff_multiplier of a Retry: expected a number of at least 1, got {self.backoff_multiplier:g}"
            )
        if not (self.budget >= 1 and self.tokens_per_success >= _MIN_TOKENS):
            raise InvalidArgument(
                f"budget of a Retry: expected at least 1, and tokens_per_success of at least {_MIN_TOKENS:g}, got "
                f"{self.budget} and {self.tokens_per_success:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalesce:
    """Request coalescing: how concurrent calls are merged.

    Attributes:
        max_rows: Most rows of a merged request; larger calls are sent unmerged. Use the model's ``max_batch_size``.
        in_flight: How many merged requests of one kind may be in flight at once.
    """

    max_rows: int = 64
    in_flight: int = 1

    def __post_init__(self) -> None:
        if self.max_rows < 2 or self.in_flight < 1:
            raise InvalidArgument(
                "Coalesce: expected max_rows of at least 2 and in_flight of at least 1, got "
                f"{self.max_rows} and {self.in_flight}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """Hedging: a second attempt if the first is slow. The first response wins, and the other attempt is cancelled.

    Only for inference, which may run twice without harm. With several addresses the second attempt goes to another one.

    Attributes:
        percentile: Calls slower than this percentile of the model's last 256 calls are hedged. 95 sends about 5 % more.
        first_delay_s: Delay until enough calls were made.
    """

    percentile: float = 95.0
    first_delay_s: float = 0.1

    def __post_init__(self) -> None:
        if not (50 <= self.percentile < 100 and self.first_delay_s > 0):
            raise InvalidArgument(
                "Hedge: expected a percentile from 50 to below 100 and first_delay_s above 0, got "
                f"{self.percentile} and {self.first_delay_s}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Transfer of large tensors through shared memory instead of the connection.

    It is used if the server is on this host, runs as the same user and was started with ``--allow-client-shm``. The
    client detects that by itself, and sends tensors over the connection whenever shared memory is not available.

    Attributes:
        min_bytes: Smallest tensor to transfer this way. Smaller ones are faster over the connection.
        max_bytes: Most shared memory for this client, all calls in flight and all results that are kept together. What
            does not fit is sent over the connection.
        any_address: Also try servers at addresses other than loopback and Unix sockets, such as one in another
            container that shares ``/dev/shm``. Costs one more call at the start if it is in vain.
    """

    min_bytes: int = 64 * 1024
    max_bytes: int = 256 * 1024 * 1024
    any_address: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.min_bytes <= self.max_bytes:
            raise InvalidArgument(
                f"Share: expected 0 < min_bytes <= max_bytes, got {self.min_bytes} and {self.max_bytes}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """TLS, optionally mutual.

    PEM is given as ``bytes``, or as the path of a file, which is read when a client is created.

    Attributes:
        ca: PEM of the certificate authorities to trust; None = gRPC's default roots.
        certificate: PEM of the client's certificate chain, if the server asks for one (mutual TLS).
        key: PEM of the client's private key.
        server_name: Name expected in the server's certificate; None = the address.
    """

    ca: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgument("TLS: certificate and key go together; one of them is missing")

    def pems(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """PEM of authorities, key and certificate, in the order of ``grpc.ssl_channel_credentials``.

        Raises:
            InvalidArgument: A file cannot be read, or is not PEM.
        """
        return _pem("ca", self.ca), _pem("key", self.key), _pem("certificate", self.certificate)


def _pem(name: str, given: Pem | None) -> bytes | None:
    """Read PEM. Errors never show its content, which may be a key."""
    if given is None:
        return None
    if isinstance(given, bytes):
        text, source = given, f"{len(given)} bytes"
    elif isinstance(given, str | os.PathLike):
        source = repr(os.fspath(given))
        try:
            text = Path(given).read_bytes()
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "no path of a file"
            # PEM text that was passed as str must not appear in the message.
            shown = "it" if "-----BEGIN" in source else source
            raise InvalidArgument(
                f"TLS: {name}: cannot read {shown}: {reason}; give a path, or PEM as bytes"
            ) from error
    else:
        raise InvalidArgument(f"TLS: {name}: expected PEM as bytes or a path, got {type(given).__name__}")
    # gRPC does not report invalid PEM: each call would fail as if there were no server.
    if b"-----BEGIN" not in text:
        raise InvalidArgument(f"TLS: {name}: expected PEM, but {source} has no line '-----BEGIN ...'")
    return text
