"""TLS of the commands that call a server: what is typed -> what the client takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sardonyx_server.cli.exit_codes import CliError, ExitCode

if TYPE_CHECKING:
    from sardonyx_client import TLS

__all__ = ["NO_TLS", "ClientTls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """The options ``--tls``, ``--ca``, ``--certificate``, ``--key`` and ``--server-name``; empty = not given.

    Any one of them asks for TLS. Without ``ca`` those authorities are trusted that gRPC trusts by itself.
    """

    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""

    def options(self) -> TLS | None:
        """For a client; None = no TLS.

        Raises:
            CliError: A file cannot be used, or a certificate has no key.
        """
        if not (self.tls or self.ca or self.certificate or self.key or self.server_name):
            return None
        from sardonyx_client import TLS, InvalidArgument

        try:
            options = TLS(
                ca=self.ca or None,
                certificate=self.certificate or None,
                key=self.key or None,
                server_name=self.server_name or None,
            )
            options.pems()
        except InvalidArgument as error:
            raise CliError(ExitCode.USAGE, error.message) from None
        return options


NO_TLS: Final = ClientTls()
"""None of the options is given."""
