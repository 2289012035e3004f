"""Where header, id and payloads lie in a message, known from another one that is as long and begins alike.

The slow twin is ``framing.split``, which looks at each field; property tests hold both equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_wire.framing import ID_TAG, read_varint

if TYPE_CHECKING:
    from sardonyx_wire.request_reader import Decoded, Header

__all__ = ["Layout"]


class Layout:
    """Of messages of one length with one header.

    All bytes of a message but those of the id and the payloads say either what the header is, or where the next field
    begins. A message in which all of these are the same is cut at the same places.

    Args:
        message: One that ``split`` cuts.
        header: Of it.
        raw_tag: Tag of the payloads.
    """

    __slots__ = ("_beginning", "_header", "_id", "_middles", "_payloads", "_start")

    def __init__(self, message: bytes, header: Header, *, raw_tag: int) -> None:
        self._header = header
        # Where the id field lies; its tag and length belong to what must be the same.
        self._id = slice(0, 0)
        self._payloads: list[slice] = []
        same: list[slice] = []
        position = begin = 0
        while position < len(message):
            field = message[position]
            length, start = read_varint(message, position + 1)
            stop = start + length
            if field == ID_TAG:
                self._id = slice(position, stop)
            if field in {ID_TAG, raw_tag}:
                same.append(slice(begin, start))
                begin = stop
            if field == raw_tag:
                self._payloads.append(slice(start, stop))
            position = stop
        same.append(slice(begin, position))
        self._beginning = message[same[0]]
        self._middles = [(message[part], part.start) for part in same[1:] if part.start < part.stop]
        # Of the one payload, where there is nothing else that may differ.
        self._start = 0 if self._middles or self._id.stop or not self._payloads else self._payloads[0].start

    def read(self, message: bytes) -> Decoded | None:
        """What ``RequestReader.decode`` returns; None where the message is another. Requires: it has the length."""
        if not message.startswith(self._beginning):
            return None
        view = memoryview(message)
        if self._start:
            return self._header, b"", [view[self._start :]]
        for part, start in self._middles:
            if not message.startswith(part, start):
                return None
        id_field = message[self._id]
        # Whether other bytes are UTF-8 is for others to find out.
        return (self._header, id_field, [view[part] for part in self._payloads]) if id_field.isascii() else None
