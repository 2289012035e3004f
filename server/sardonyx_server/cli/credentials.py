"""The credentials that commands send with each call: a bearer token, or headers from the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sardonyx_server.cli.exit_codes import CliError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TOKEN_VARIABLE", "metadata_of"]

TOKEN_VARIABLE: Final = "SARDONYX_TOKEN"  # noqa: S105  # the name of a variable

_NAME: Final = re.compile(r"[0-9a-z_.-]+")
# Valid header values; blanks at the ends would be lost in transit.
_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def metadata_of(token: str, headers: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The metadata of every call, for the client.

    Args:
        token: Sent as ``authorization: Bearer TOKEN``; "" = none.
        headers: ``NAME=VALUE`` each.

    Raises:
        CliError: One of them is invalid. The value is not shown.
    """
    found: dict[str, str] = {}
    if token:
        if not _VALUE.fullmatch(token) or " " in token:
            raise CliError(ExitCode.USAGE, f"--token, {TOKEN_VARIABLE}: expected printable ASCII without spaces")
        found["authorization"] = f"Bearer {token}"
    for header in headers:
        name, _, value = header.partition("=")
        if not _NAME.fullmatch(name) or name.startswith("grpc-") or not _VALUE.fullmatch(value):
            raise CliError(
                ExitCode.USAGE,
                "--header: expected NAME=VALUE, a name of a-z 0-9 _ . - that does not begin with grpc-, and a value of "
                "printable ASCII without spaces at its ends",
            )
        if name in found:
            raise CliError(ExitCode.USAGE, f"--header: {name!r} is sent twice; a token is sent as authorization")
        found[name] = value
    return tuple(found.items())
