"""The check of calls that change the server: callers may make them only if the operator allows it."""

from __future__ import annotations

from sardonyx_server.errors import TryLater

__all__ = ["require_admin"]


def require_admin(what: str, *, allowed: bool) -> None:
    """Require that ``--allow-admin`` is set.

    Args:
        what: The change, for the message: ``changing log settings``.
        allowed: Value of ``--allow-admin``.

    Raises:
        TryLater: ``--allow-admin`` is not set.
    """
    if not allowed:
        raise TryLater(
            f"{what} is not allowed on this server; reading is. The operator allows it with --allow-admin true",
            reason="ADMIN_NOT_ALLOWED",
        )
