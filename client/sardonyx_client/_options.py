"""What a client is told at start, as its user says it. _connection.py makes of it what grpc's channels take."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sardonyx_client._errors import InvalidArgument

__all__ = ["TLS", "Coalesce", "Compression", "Hedge", "Retry", "Share", "Transport"]

Compression = Literal["gzip", "deflate"]
"""How messages to the server are compressed."""

Transport = Literal["auto", "grpcio"]
"""What carries inference calls: ``auto`` = the lane where it can, else grpcio's channel; ``grpcio`` = always that."""

Pem = bytes | str | os.PathLike[str]
"""Text in PEM, or the path of a file that holds it."""

# gRPC's core does no more than five, whatever it is told.
_MOST_ATTEMPTS: Final = 5
# What its service config can say: thousandths of a second and of a token. With anything else it makes no channel.
_LEAST_PAUSE_S: Final = 0.001
_MOST_PAUSE_S: Final = 86_400.0
_LEAST_TOKENS: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a call is tried again: where the server is not there or asks to come back later (UNAVAILABLE), never else.

    Attributes:
        attempts: At most, the first included: 2 to 5.
        first_pause_s: Before the second attempt, on average; each further one waits longer. The server's own advice
            comes first; advice of more than a minute ends a call that has no ``timeout_s``.
        longest_pause_s: Between two attempts.
        factor: By which pauses grow.
        budget: Failures in a row that stop retries altogether; successes give it back, ``tokens_per_success`` each.
        tokens_per_success: See ``budget``.
    """

    attempts: int = 4
    first_pause_s: float = 0.05
    longest_pause_s: float = 1.0
    factor: float = 2.0
    budget: int = 20
    tokens_per_success: float = 0.1

    def __post_init__(self) -> None:
        if not 2 <= self.attempts <= _MOST_ATTEMPTS:
            raise InvalidArgument(
                f"attempts of a Retry: expected 2 to {_MOST_ATTEMPTS}, got {self.attempts}; retry=None never retries"
            )
        if not (_LEAST_PAUSE_S <= self.first_pause_s <= self.longest_pause_s <= _MOST_PAUSE_S):
            raise InvalidArgument(
                f"pauses of a Retry: expected {_LEAST_PAUSE_S:g} <= first_pause_s <= longest_pause_s <= "
                f"{_MOST_PAUSE_S:g}, got {self.first_pause_s:g} and {self.longest_pause_s:g}"
            )
        if not 1 <= self.factor < math.inf:
            raise InvalidArgument(f"factor of a Retry: expected a number of at least 1, got {self.factor:g}")
        if not (self.budget >= 1 and self.tokens_per_success >= _LEAST_TOKENS):
            raise InvalidArgument(
                f"budget of a Retry: expected at least 1, and tokens_per_success of at least {_LEAST_TOKENS:g}, got "
                f"{self.budget} and {self.tokens_per_success:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalesce:
    """How concurrent calls are joined.

    Attributes:
        max_rows: Of a joined request; calls with more go alone. Give the model's ``max_batch_size``.
        in_flight: Joined requests of one kind that may be under way at once.
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
    """A second attempt where the first is slow: whichever answers first wins, the other is cancelled.

    For inference only, which may run twice without harm. With several addresses the second attempt goes to another one.

    Attributes:
        percentile: Of the last 256 calls of the model: calls slower than this are hedged. 95 sends about 5 % more.
        first_delay_s: Delay until enough calls were seen.
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
    """Large tensors go through memory that client and server share, instead of through the connection.

    That happens where the server is on this machine, runs as the same user and was started with ``--allow-client-shm``;
    the client finds out by itself, and sends the tensors where anything is in the way.

    Attributes:
        least_bytes: Of a tensor. Smaller ones are quicker by the connection.
        most_bytes: Of memory for this client, all calls under way and all results that are kept together. What does not
            fit is sent.
        any_address: Try with servers on other than loopback addresses and Unix sockets too, such as one in another
            container that has the same ``/dev/shm``. Costs one more call at the start where it is in vain.
    """

    least_bytes: int = 64 * 1024
    most_bytes: int = 256 * 1024 * 1024
    any_address: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.least_bytes <= self.most_bytes:
            raise InvalidArgument(
                f"Share: expected 0 < least_bytes <= most_bytes, got {self.least_bytes} and {self.most_bytes}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """Encryption, and who is who.

    What is PEM may be given as ``bytes``, or as the path of a file, which is read when a client is made.

    Attributes:
        ca: PEM of the authorities that may sign the server's certificate; None = those gRPC knows.
        certificate: PEM of this client's own certificate chain, where the server asks for one (mutual TLS).
        key: PEM of its private key.
        server_name: Name expected in the server's certificate; None = that of the address.
    """

    ca: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgument("TLS: certificate and key go together; one of them is missing")

    def pems(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The bytes of authorities, key and certificate, in the order of ``grpc.ssl_channel_credentials``.

        Raises:
            InvalidArgument: A file cannot be read, or one of them is no PEM.
        """
        return _pem("ca", self.ca), _pem("key", self.key), _pem("certificate", self.certificate)


def _pem(name: str, given: Pem | None) -> bytes | None:
    """Reads what was given by its path. Never shows what it read: it may be a key."""
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
            # The text of a PEM itself, given as str, is not repeated.
            shown = "it" if "-----BEGIN" in source else source
            raise InvalidArgument(
                f"TLS: {name}: cannot read {shown}: {reason}; give a path, or PEM as bytes"
            ) from error
    else:
        raise InvalidArgument(f"TLS: {name}: expected PEM as bytes or a path, got {type(given).__name__}")
    # gRPC says nothing of a wrong one: each call would fail as if there were no server.
    if b"-----BEGIN" not in text:
        raise InvalidArgument(f"TLS: {name}: expected PEM, but {source} has no line '-----BEGIN ...'")
    return text
