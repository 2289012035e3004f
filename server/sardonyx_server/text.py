"""Puts what a caller, a file or the operator chose (a name, an address) into a message, and the way to an extra.

Does not build messages. Names may be a megabyte long or hold newlines and terminal escape sequences; a message stays
one short, printable line.
"""

from __future__ import annotations

import shlex
import sys
from typing import Final

__all__ = ["host_and_port", "one_line", "pip_install", "quoted"]

_QUOTE_LIMIT_CHARACTERS: Final = 80


def quoted(name: str) -> str:
    r"""A name in single quotes, for a message: ``'iris'``, ``'a\x00b'``, ``'aaaa...' (1,048,576 characters)``.

    Args:
        name: Any text; quotes, backslashes and what does not print are escaped.
    """
    shown = name[:_QUOTE_LIMIT_CHARACTERS]
    # ASCII without the three special kinds of character is the rule: nothing to escape.
    if "'" in shown or "\\" in shown or not shown.isprintable():
        shown = _escaped(shown.replace("\\", "\\\\").replace("'", "\\'"))
    if len(name) <= _QUOTE_LIMIT_CHARACTERS:
        return f"'{shown}'"
    return f"'{shown}...' ({len(name):,} characters)"


def one_line(text: str, limit_bytes: int) -> str:
    """A text that prints as one line of at most ``limit_bytes`` bytes in UTF-8; ``...`` stands for what is cut off."""
    # Every character takes a byte or more: this keeps the work small for a text of a megabyte.
    text = text[: limit_bytes + 1]
    if not text.isprintable():
        text = _escaped(text)
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    return encoded[: limit_bytes - len("...")].decode(errors="ignore") + "..."


def host_and_port(host: str, port: int) -> str:
    """``host:port``, with an address of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def pip_install(extra: str) -> str:
    """A command to paste that adds an extra where this program is installed, whichever pip the shell would find."""
    return shlex.join([sys.executable, "-m", "pip", "install", f"sardonyx[{extra}]"])


def _escaped(text: str) -> str:
    # Lone surrogates do not print either, so the result can always be encoded.
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
