"""Formats untrusted names, addresses and install commands for messages.

A name from a caller, a file or the operator may be a megabyte long or hold newlines and terminal escape sequences;
these functions keep a message one short, printable line.
"""

from __future__ import annotations

import shlex
import sys
from typing import Final

__all__ = ["host_and_port", "one_line", "pip_install", "quoted"]

_QUOTE_LIMIT_CHARACTERS: Final = 80


def quoted(name: str) -> str:
    r"""Quotes and shortens a name: ``'iris'``, ``'a\x00b'``, ``'aaaa...' (1,048,576 characters)``.

    Args:
        name: Any text. Quotes, backslashes and characters that do not print are escaped.
    """
    shown = name[:_QUOTE_LIMIT_CHARACTERS]
    # The common case, a printable name without quotes or backslashes, needs no escaping.
    if "'" in shown or "\\" in shown or not shown.isprintable():
        shown = _escaped(shown.replace("\\", "\\\\").replace("'", "\\'"))
    if len(name) <= _QUOTE_LIMIT_CHARACTERS:
        return f"'{shown}'"
    return f"'{shown}...' ({len(name):,} characters)"


def one_line(text: str, limit_bytes: int) -> str:
    """Escapes and truncates a text to one printable line of at most ``limit_bytes`` bytes in UTF-8."""
    # Every character takes at least one byte, so this bounds the work for very long texts.
    text = text[: limit_bytes + 1]
    if not text.isprintable():
        text = _escaped(text)
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    return encoded[: limit_bytes - len("...")].decode(errors="ignore") + "..."


def host_and_port(host: str, port: int) -> str:
    """``host:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def pip_install(extra: str) -> str:
    """A shell command that installs an extra into this interpreter's environment, whichever pip is on the PATH."""
    return shlex.join([sys.executable, "-m", "pip", "install", f"sardonyx[{extra}]"])


def _escaped(text: str) -> str:
    # Lone surrogates are not printable either, so the result can always be encoded.
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
