"""Positions of header, id and payloads in a message, known from an earlier message of the same length and header.

The slow equivalent is ``protobuf_fields.split``, which looks at each field. Property tests compare the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_wire.protobuf_fields import ID_TAG, read_varint

if TYPE_CHECKING:
    from sardonyx_wire.request_reader import Decoded, Header

__all__ = ["Layout"]


class Layout:
    """The layout of messages that have one length and one header.

    All bytes of a message except those of the id and the payloads belong to the header or tell where the next field
    begins. Two messages that agree in all of these bytes have their fields at the same positions.

    Args:
        message: A message that ``split`` can split.
        header: The header of that message.
        raw_tag: Tag of the payloads.
    """

    __slots__ = ("_beginning", "_header", "_id", "_middles", "_payloads", "_start")

    def __init__(self, message: bytes, header: Header, *, raw_tag: int) -> None:
        self._header = header
        # Position of the id field, whose tag and length are among the bytes that must agree.
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
        # Start of the payload, where there is only one and nothing else may differ.
        self._start = 0 if self._middles or self._id.stop or not self._payloads else self._payloads[0].start

    def read(self, message: bytes) -> Decoded | None:
        """As ``RequestReader.decode``; None where the header differs. Requires: the message has the length."""
        if not message.startswith(self._beginning):
            return None
        view = memoryview(message)
        if self._start:
            return self._header, b"", [view[self._start :]]
        for part, start in self._middles:
            if not message.startswith(part, start):
                return None
        id_field = message[self._id]
        # Whether a non-ASCII id is valid UTF-8 is checked on the slow path.
        return (self._header, id_field, [view[part] for part in self._payloads]) if id_field.isascii() else None
