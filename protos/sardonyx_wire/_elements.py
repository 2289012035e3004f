"""Raw contents of BYTES tensors <-> their elements: each is a uint32 length followed by its bytes.

Used through tensors.py, which knows shapes and the other datatypes. Work is bounded by the buffer size and the count.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Buffer", "WireError", "decode_bytes_elements", "decode_utf8", "encode_bytes_elements"]

_LENGTH: Final = struct.Struct("<I")
_LENGTH_BYTES: Final = _LENGTH.size
# Elements that are shorter than this on average are sliced from one copy of the buffer: slicing bytes is twice as fast
# as slicing a memoryview and copying the slice. Longer elements are copied once each.
_SHORT_ELEMENT_BYTES: Final = 1024

Buffer = bytes | bytearray | memoryview


class WireError(ValueError):
    """The data do not match their datatype and shape. The text is safe to show to a client."""


def decode_bytes_elements(data: Buffer, count: int) -> list[bytes]:
    """Decode the raw contents of a BYTES tensor.

    Args:
        data: The buffer; a memoryview must be one of single bytes.
        count: Number of elements according to the shape.

    Returns:
        The elements, in row-major order.

    Raises:
        WireError: The buffer holds fewer or more than ``count`` elements, or a length points past its end.
    """
    size = len(data)
    if size < count * _LENGTH_BYTES:
        least = count * _LENGTH_BYTES
        raise WireError(f"expected {count} BYTES elements, which take {least} bytes or more, got {size} bytes")
    # All elements are empty. One message can have hundreds of millions of them: avoid a Python loop.
    if size == count * _LENGTH_BYTES and bytes(data).count(0) == size:
        return [b""] * count
    cut = _cut_bytes if isinstance(data, bytes) or size < count * _SHORT_ELEMENT_BYTES else _cut_view
    elements, stop = cut(data, count)
    if stop != size or len(elements) != count:
        raise WireError(_explain(elements, stop, size, count))
    return elements


def decode_utf8(elements: Sequence[bytes]) -> list[str]:
    """Decode elements of a BYTES tensor as UTF-8. NUL characters are kept.

    Raises:
        WireError: An element is not UTF-8.
    """
    texts: list[str] = []
    append = texts.append
    try:
        for element in elements:
            append(element.decode())
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        message = f"element {len(texts)} is not UTF-8: byte 0x{byte:02x} at offset {error.start}"
        raise WireError(message) from None
    return texts


def encode_bytes_elements(elements: Iterable[str | bytes]) -> bytes:
    """Encode the raw contents of a BYTES tensor. Text is encoded as UTF-8.

    Raises:
        WireError: An element is neither ``str`` nor ``bytes``, or contains a lone surrogate.
    """
    parts: list[bytes] = []
    append = parts.append
    pack = _LENGTH.pack
    for element in elements:
        if isinstance(element, str):
            try:
                encoded = element.encode()
            except UnicodeEncodeError:
                raise WireError(f"element {len(parts) // 2} is text that UTF-8 cannot carry: {element!a:.40}") from None
        elif isinstance(element, bytes):
            encoded = element
        else:
            raise WireError(f"element {len(parts) // 2} is {type(element).__name__}, expected str or bytes")
        append(pack(len(encoded)))
        append(encoded)
    return b"".join(parts)


# Both stop where a length is cut off. Slicing past the end yields a short element and raises nothing. Then either no
# length can follow, or the caller notices by the end position of the last element. So the loops need no bounds checks.


def _cut_bytes(data: Buffer, count: int) -> tuple[list[bytes], int]:
    """(elements, position where the last one ends according to its length)."""
    unpack = _LENGTH.unpack_from
    whole = bytes(data)
    elements: list[bytes] = []
    append = elements.append
    position = 0
    try:
        for _ in range(count):
            start = position + 4
            position = start + unpack(whole, position)[0]
            append(whole[start:position])
    except struct.error:
        pass
    return elements, position


def _cut_view(data: Buffer, count: int) -> tuple[list[bytes], int]:
    """(elements, position where the last one ends according to its length)."""
    unpack = _LENGTH.unpack_from
    view = memoryview(data)
    elements: list[bytes] = []
    position = 0
    try:
        for _ in range(count):
            start = position + 4
            position = start + unpack(view, position)[0]
            elements.append(bytes(view[start:position]))
    except struct.error:
        pass
    return elements, position


def _explain(elements: list[bytes], stop: int, size: int, count: int) -> str:
    """The error message for a buffer of ``size`` bytes from which these elements were decoded."""
    index = len(elements)
    if stop > size:
        left = len(elements[-1])
        length = stop - size + left
        return f"BYTES element {index - 1} of {count}: expected {length} bytes as its length says, but {left} are left"
    if index == count:
        return f"expected {count} BYTES elements in {stop} bytes, but {size - stop} more bytes follow"
    if stop == size:
        return f"expected {count} BYTES elements, got {index}"
    return f"BYTES element {index} of {count}: expected a length of {_LENGTH_BYTES} bytes, but {size - stop} are left"
