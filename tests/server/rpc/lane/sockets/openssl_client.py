"""A TLS client that asks for new keys (RFC 8446, section 4.6.3), which Python's own cannot: OpenSSL by ctypes."""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    import socket

__all__ = ["OpenSslClient"]

_WANT_READ: Final = 2
_WANT_WRITE: Final = 3
_ZERO_RETURN: Final = 6
_KEY_UPDATE_REQUESTED: Final = 1
_POINTERS: Final = {
    "TLS_client_method": [],
    "SSL_CTX_new": [ctypes.c_void_p],
    "SSL_new": [ctypes.c_void_p],
}
_NUMBERS: Final = {
    "SSL_set_fd": [ctypes.c_void_p, ctypes.c_int],
    "SSL_connect": [ctypes.c_void_p],
    "SSL_do_handshake": [ctypes.c_void_p],
    "SSL_key_update": [ctypes.c_void_p, ctypes.c_int],
    "SSL_read": [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int],
    "SSL_get_error": [ctypes.c_void_p, ctypes.c_int],
}


def _library() -> Any:
    """OpenSSL's, with the types of what is called."""
    name = ctypes.util.find_library("ssl")
    if name is None:
        pytest.skip("needs the shared library of OpenSSL")
    library = ctypes.CDLL(name)
    for functions, kind in ((_POINTERS, ctypes.c_void_p), (_NUMBERS, ctypes.c_int)):
        for function, arguments in functions.items():
            getattr(library, function).argtypes, getattr(library, function).restype = arguments, kind
    return library


class OpenSslClient:
    """Trusts whoever answers. What it allocates is never freed.

    Args:
        connected: Does not block.

    Attributes:
        ended: Whether the server has said that it sends no more.
    """

    ended = False

    def __init__(self, connected: socket.socket) -> None:
        self._library = _library()
        self._ssl = self._library.SSL_new(self._library.SSL_CTX_new(self._library.TLS_client_method()))
        assert self._library.SSL_set_fd(self._ssl, connected.fileno()) == 1
        self._buffer = ctypes.create_string_buffer(65_536)

    def connect(self) -> bool:
        """Take the next step of the handshake. Returns whether it is done."""
        return self._done(self._library.SSL_connect(self._ssl))

    def update_keys(self) -> bool:
        """Send a KeyUpdate that asks for one. Returns whether the socket took it; else call it again."""
        if not self._library.SSL_key_update(self._ssl, _KEY_UPDATE_REQUESTED):
            return False
        return self._done(self._library.SSL_do_handshake(self._ssl))

    def read(self) -> bytes:
        """All that has come whole."""
        got = b""
        while self._done(size := self._library.SSL_read(self._ssl, self._buffer, len(self._buffer))):
            got += self._buffer.raw[:size]
        return got

    def _done(self, returned: int) -> bool:
        if returned > 0:
            return True
        error = self._library.SSL_get_error(self._ssl, returned)
        assert error in {_WANT_READ, _WANT_WRITE, _ZERO_RETURN}
        self.ended = error == _ZERO_RETURN
        return False
