"""Reads the file of bearer tokens (``--auth-tokens-file``), and polls it for changes.

    # the shop                   a comment
    TOKEN                        may call everything
    TOKEN inference,metadata     may call these protocols, and what needs no token

Messages contain line numbers, but no text of the file, since a misplaced word may be a token.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import SettingsError
from sardonyx_server.rpc.access_control import digest
from sardonyx_server.setting_types import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sardonyx_server.rpc.access_control import TokenScopes

__all__ = ["LEAST_CHARACTERS", "TokenFile"]

_LOG = logging.getLogger("sardonyx.rpc")

LEAST_CHARACTERS: Final = 16
"""Minimum length of a token. A shorter one could be guessed, or is a misplaced name."""

# RFC 6750, section 2.1.
_TOKEN: Final = re.compile(r"[0-9A-Za-z._~+/-]+=*")
_EVERYTHING: Final = frozenset(PROTOCOLS)
_POLL_S: Final = 1.0


class TokenFile:
    """One token file.

    Args:
        path: Its path.
        poll_s: Polling interval in seconds.
    """

    def __init__(self, path: Path, *, poll_s: float = _POLL_S) -> None:
        self._path = path
        self._poll_s = poll_s
        # File status when it was last read, and at the last poll.
        self._read_as = self._seen_as = self._stamp()
        # File status and error that were logged last.
        self._refused: tuple[tuple[int, ...], str] | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def read(self) -> TokenScopes:
        """Read it at start. Blocks.

        Returns:
            Digest of each token -> protocols that it may call.

        Raises:
            SettingsError: It cannot be read, a line is invalid, or it has no tokens.
        """
        tokens = self._tokens()
        if not tokens:
            raise SettingsError(
                f"auth_tokens_file: {str(self._path)!r} has no token, so nobody could call; "
                "'openssl rand -hex 32' makes one"
            )
        return tokens

    def watch(self, on_change: Callable[[TokenScopes], None]) -> None:
        """Start a thread that calls ``on_change`` with the tokens each time the file has changed."""
        self._thread = threading.Thread(target=self._watch, args=(on_change,), name="token-file", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop polling. Blocks until the thread has ended, which is immediate unless it is reading the file."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def poll(self, on_change: Callable[[TokenScopes], None]) -> None:
        """Call ``on_change`` if the file has changed since it was read, but not since the last poll.

        A file that is still changing may be half written. If it cannot be read or is invalid, nothing changes, the
        error is logged once, and the next poll tries again: a passing error must not keep revoked tokens valid. A file
        without tokens is valid here: it revokes all.
        """
        stamp = self._stamp()
        if stamp == self._read_as:
            return
        if stamp != self._seen_as:
            self._seen_as = stamp
            return
        try:
            tokens = self._tokens()
        except SettingsError as error:
            if self._refused != (stamp, error.message):
                self._refused = stamp, error.message
                _LOG.error("tokens stay as they were: %s", error.message)  # no bug, so no traceback
            return
        self._read_as, self._refused = stamp, None
        on_change(tokens)
        _LOG.info("tokens read again", extra={"tokens": len(tokens)})

    def _watch(self, on_change: Callable[[TokenScopes], None]) -> None:
        while not self._closed.wait(self._poll_s):
            self.poll(on_change)

    def _stamp(self) -> tuple[int, ...]:
        """Status of the file, which differs after each change; empty if it does not exist."""
        try:
            found = os.stat(self._path)  # noqa: PTH116  # by its target: platforms put another file behind a link
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _tokens(self) -> TokenScopes:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise SettingsError(f"auth_tokens_file: cannot read {str(self._path)!r}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"auth_tokens_file: {str(self._path)!r} is not UTF-8") from None
        found: dict[bytes, frozenset[str]] = {}
        numbers: dict[bytes, int] = {}
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            token = digest(words[0].encode())
            problem = _problem(words)
            if token in found:
                problem = f"this token is on line {numbers[token]}, too"
            if problem:
                raise SettingsError(f"auth_tokens_file: line {number} of {str(self._path)!r}: {problem}")
            found[token] = frozenset(words[1].split(",")) if len(words) > 1 else _EVERYTHING
            numbers[token] = number
        return found


def _problem(words: list[str]) -> str:
    """Why the words of a line are invalid; "" if they are valid."""
    token, *rest = words
    if not _TOKEN.fullmatch(token) or len(token) < LEAST_CHARACTERS:
        return (
            f"expected a token, which has {LEAST_CHARACTERS} characters or more, all of A-Z a-z 0-9 - . _ ~ + / and = "
            "at its end"
        )
    if rest and not (len(rest) == 1 and _EVERYTHING.issuperset(rest[0].split(","))):
        return (
            "after the token, expected one list of protocols such as inference,metadata; "
            f"there are {', '.join(PROTOCOLS)}"
        )
    return ""
