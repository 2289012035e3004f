"""Access control: which callers may call which method. One table and one check, for tokens and for Triton's flag.

    method --> the headers it requires --> is the digest of each known? --> does it allow the method's protocol?

Called first in every call of every service, on both transports. Reads no file: see token_file.py. Secrets are kept only
as digests, keyed by a secret of this process, so neither the time of a lookup nor the memory reveals one.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from sardonyx_server.errors import Forbidden, Unauthenticated
from sardonyx_server.log_rate_limiter import LogRateLimiter
from sardonyx_server.setting_types import PROTOCOLS
from sardonyx_wire.messages import METHODS

if TYPE_CHECKING:
    from sardonyx_server.setting_types import Restriction

__all__ = ["PROTOCOL_OF", "PUBLIC_METHODS", "AccessControl", "AccessPolicy", "Metadata", "TokenScopes", "digest"]

_LOG = logging.getLogger("sardonyx.rpc")

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
"""Metadata of a call, as in grpcio: names in lower case; values of ``-bin`` names are bytes."""

TokenScopes: TypeAlias = Mapping[bytes, frozenset[str]]
"""Digest of a token -> protocols that its holder may call."""

_HEALTH: Final = "/grpc.health.v1.Health/"
_IN_PROTOCOL: Final[Mapping[str, Sequence[str]]] = {
    "health": ("ServerLive", "ServerReady", "ModelReady"),
    "metadata": ("ServerMetadata", "ModelMetadata"),
    "inference": ("ModelInfer", "ModelStreamInfer"),
    "shared-memory": (
        "SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister",
        "CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister",
    ),
    "model-config": ("ModelConfig",),
    "model-repository": ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    "statistics": ("ModelStatistics",),
    "trace": ("TraceSetting",),
    "logging": ("LogSettings",),
}  # fmt: skip

PROTOCOL_OF: Final[Mapping[str, str]] = {
    **{METHODS[name].path: protocol for protocol, names in _IN_PROTOCOL.items() for name in names},
    **{f"{_HEALTH}{name}": "health" for name in ("Check", "List", "Watch")},
    # Triton has no reflection. It describes what can be called, as metadata does.
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": "metadata",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "metadata",
}
"""Full name of every method that is served -> its protocol, as Triton groups them."""

PUBLIC_METHODS: Final = frozenset(
    {METHODS["ServerLive"].path, METHODS["ServerReady"].path, f"{_HEALTH}Check", f"{_HEALTH}Watch"}
)
"""Methods that need no token: load balancers and Kubernetes probe without one. Not ``List``, which names all models."""

_BEARER: Final = "authorization"
_KEY: Final = secrets.token_bytes(32)


def digest(secret: bytes) -> bytes:
    """Keyed digest of a secret, under which it is kept and looked up."""
    return hashlib.blake2b(secret, key=_KEY, digest_size=32).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _RequiredHeader:
    """A header that calls of some methods must carry exactly once.

    Attributes:
        header: Its name.
        known: Digest of each accepted value -> protocols that it allows.
        refusal: Error message for a missing, repeated or wrong header; the same for all of these.
    """

    header: str
    known: TokenScopes
    refusal: str

    def check(self, protocol: str, metadata: Metadata) -> None:
        """Raise Unauthenticated or Forbidden unless the metadata satisfy it."""
        values = [value for name, value in metadata if name == self.header]
        allowed = self.known.get(digest(self._secret(values[0]))) if len(values) == 1 else None
        if allowed is None:
            raise Unauthenticated(self.refusal)
        if protocol not in allowed:
            may = ", ".join(name for name in PROTOCOLS if name in allowed)
            raise Forbidden(f"the token that came may not call {protocol}, only {may}; ask the operator for another")

    def _secret(self, value: str | bytes) -> bytes:
        """The part of a value that is compared: of ``Bearer TOKEN`` the token; the scheme's case does not matter."""
        secret = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        if self.header != _BEARER:
            return secret
        scheme, _, token = secret.partition(b" ")
        return token.strip(b" ") if scheme.lower() == b"bearer" else b""


class AccessPolicy:
    """Who may call which method. Immutable; any thread.

    Args:
        restrictions: Protocols that require a header of their own.
        tokens: The tokens that are accepted; None = no token is required.
    """

    __slots__ = ("_required",)

    def __init__(self, restrictions: Sequence[Restriction], tokens: TokenScopes | None) -> None:
        headers = {
            protocol: _RequiredHeader(
                header=each.header,
                known={digest(each.value.encode()): frozenset(each.protocols)},
                refusal=f"{protocol} is restricted on this server: expected the metadata '{each.header}', once, with "
                "the value that it was given",
            )
            for each in restrictions
            for protocol in each.protocols
        }
        bearer = () if tokens is None else (
            _RequiredHeader(
                header=_BEARER,
                known=tokens,
                refusal="expected the metadata 'authorization: Bearer TOKEN', once, with a token that this server "
                "knows",
            ),
        )  # fmt: skip
        self._required = {
            method: (
                *(() if method in PUBLIC_METHODS else bearer),
                *((headers[protocol],) if protocol in headers else ()),
            )
            for method, protocol in PROTOCOL_OF.items()
        }

    def check(self, method: str, metadata: Metadata) -> None:
        """Check one call.

        Args:
            method: Full name, one of :data:`PROTOCOL_OF`. Any other is a bug, and refused as one (KeyError).
            metadata: Metadata of the call.

        Raises:
            Unauthenticated: A required header is missing, repeated or wrong.
            Forbidden: The token is known, but limited to other protocols.
        """
        for header in self._required[method]:
            header.check(PROTOCOL_OF[method], metadata)


class AccessControl:
    """The current access policy, which can be replaced while the server runs.

    Args:
        restrictions: See :class:`AccessPolicy`.
        tokens: Likewise.

    Attributes:
        policy: The current one. A call that a policy has allowed once it always allows, so the result can be cached.
    """

    __slots__ = ("_log_rate", "_restrictions", "policy")

    def __init__(self, restrictions: Sequence[Restriction], tokens: TokenScopes | None) -> None:
        self._restrictions = restrictions
        self._log_rate = LogRateLimiter()
        self.policy = AccessPolicy(restrictions, tokens)

    def renew(self, tokens: TokenScopes) -> None:
        """Accept these tokens from now on instead. Calls that have begun go on."""
        self.policy = AccessPolicy(self._restrictions, tokens)

    def check(self, method: str, metadata: Metadata, peer: str) -> AccessPolicy:
        """Check one call. Any thread; never blocks, except for a log line at most once a minute.

        Args:
            method: See :meth:`AccessPolicy.check`.
            metadata: Likewise.
            peer: Address of the caller, for the log.

        Returns:
            The policy that allowed it.

        Raises:
            Unauthenticated: See :meth:`AccessPolicy.check`.
            Forbidden: Likewise.
        """
        policy = self.policy
        try:
            policy.check(method, metadata)
        except (Unauthenticated, Forbidden) as error:
            if self._log_rate.allow():
                words = {"method": method, "peer": peer, "reason": error.reason}
                _LOG.warning("access denied (logged at most once a minute)", extra=words)
            raise
        return policy
