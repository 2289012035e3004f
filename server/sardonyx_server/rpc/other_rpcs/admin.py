"""What callers may only do where the operator allows it: to change the server. Decides nothing else."""

from __future__ import annotations

from sardonyx_server.errors import TryLater

__all__ = ["require_admin"]


def require_admin(what: str, *, allowed: bool) -> None:
    """Let a change through where ``--allow-admin`` is set.

    Args:
        what: The change, for the message: ``changing log settings``.
        allowed: The operator's setting.

    Raises:
        TryLater: It is not set.
    """
    if not allowed:
        raise TryLater(
            f"{what} is not allowed on this server; reading is. The operator allows it with --allow-admin true",
            reason="ADMIN_NOT_ALLOWED",
        )
