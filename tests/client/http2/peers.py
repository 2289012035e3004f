"""A server of raw HTTP/2 that does as a test's script says, connection by connection."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from hpack import Decoder

from sardonyx_wire.http2.frames import FRAME_HEADER, FRAME_HEADER_BYTES, PREFACE, Flag, FrameType
from tests.client.http2.wire import settings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BOUND_S", "Peer", "PeerConnection"]

BOUND_S = 60.0
_UNREAD_BYTES: Final = 64 * 1024
# struct linger of socket(7): whether, and seconds.
_LINGER: Final = struct.Struct("ii")


class PeerConnection:
    """The server's side of a connection, for one script at a time."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self._decoder = Decoder()

    def greet(self, **values: int) -> None:
        """Say settings, and take the client's preface."""
        self.send(settings(**values))
        preface = PREFACE
        assert self._read(len(preface)) == preface

    def send(self, *frames: bytes) -> None:
        """All of them at once."""
        self.raw.sendall(b"".join(frames))

    def abort(self) -> None:
        """Reset the connection."""
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))
        self.raw.close()

    def frame(self) -> tuple[int, int, int, bytes]:
        """The next one: (kind, flags, stream, payload). Raises EOFError where the client has gone."""
        high, low, kind, flags, stream_id = FRAME_HEADER.unpack(self._read(FRAME_HEADER_BYTES))
        return kind, flags, stream_id, self._read(high << 8 | low)

    def until(self, wanted: int) -> tuple[int, int, int, bytes]:
        """The next frame of this kind; others are dropped."""
        while True:
            found = self.frame()
            if found[0] == wanted:
                return found

    def request(self) -> tuple[int, dict[str, str], bytes]:
        """The next request: (stream, header, message with its prefix)."""
        _, _, stream_id, block = self.until(FrameType.HEADERS)
        header = {str(name): str(value) for name, value in self._decoder.decode(block)}
        message, flags = b"", 0
        while not flags & Flag.END_STREAM:
            _, flags, _, payload = self.until(FrameType.DATA)
            message += payload
        return stream_id, header, message

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self.raw.recv(size - len(found))
            if not part:
                raise EOFError
            found += part
        return found


class Peer:
    """Serves while its context is open.

    Args:
        *scripts: What to do with each connection, in the order in which they come; the last is done again and again.

    Attributes:
        address: For clients.
        connections: How many came.
    """

    def __init__(self, *scripts: Callable[[PeerConnection], None]) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.problems: list[Exception] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for raw in self._open:
            with suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(BOUND_S)
        assert not self.problems, self.problems

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                raw.settimeout(BOUND_S)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what was sent is there
                self._open.append(raw)
                script = self._scripts[min(self.connections, len(self._scripts) - 1)]
                self.connections += 1
                self._start(self._serve, raw, script)

    def _serve(self, raw: socket.socket, script: Callable[[PeerConnection], None]) -> None:
        try:
            script(PeerConnection(raw))
            _end(raw)
        except (EOFError, ConnectionError):
            pass  # the client has gone
        except Exception as error:  # noqa: BLE001  # told to the test
            self.problems.append(error)
        finally:
            raw.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()


def _end(raw: socket.socket) -> None:
    """Say that nothing more comes, and take what the client still sends.

    Closing with bytes unread, be it an acknowledgement of settings, makes the system reset the connection, and what the
    client has not read by then is lost. grpcio 1.68 may also wait for its whole deadline after such a reset.
    """
    with suppress(OSError):
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(_UNREAD_BYTES):
            pass
