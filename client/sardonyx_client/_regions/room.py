"""The shared memory of one inference call: where its large inputs are put, and where the server puts large outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sardonyx_client._regions.shared_region import SharedRegion

__all__ = ["Room", "aligned"]

# What any datatype, and the widest vector instructions, want of an address.
_ALIGNMENT: Final = 64


def aligned(size_bytes: int) -> int:
    """What a tensor of this size takes in a region."""
    return -(-size_bytes // _ALIGNMENT) * _ALIGNMENT


class Room:
    """Of one call.

    Args:
        inputs: Memory for inputs; None = all are sent.
        outputs: Memory that the server may put outputs in; None = all are sent.
        least_bytes: Smaller inputs are sent.

    Attributes:
        shown: A view of all of ``outputs`` that every view of an output keeps alive; None where there is none.
        taken_bytes: Of ``outputs``, as far as it was seen.
    """

    __slots__ = ("_free", "_inputs", "_least_bytes", "_outputs", "shown", "taken_bytes")

    def __init__(self, inputs: SharedRegion | None, outputs: SharedRegion | None, *, least_bytes: int) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._least_bytes = least_bytes
        self._free = 0
        self.shown: NDArray[Any] | None = None
        self.taken_bytes = 0

    def put(self, data: bytes | memoryview) -> tuple[str, int, int] | None:
        """Copy an input there.

        Returns:
            Region, bytes and offset; None where it is small or does not fit: it is to be sent.
        """
        region, offset, size_bytes = self._inputs, self._free, len(data)
        if region is None or not self._least_bytes <= size_bytes <= region.size_bytes - offset:
            return None
        region.write(offset, data)
        self._free += aligned(size_bytes)
        return region.name, size_bytes, offset

    def view(self, region: object, offset: int, size_bytes: int) -> memoryview | None:
        """An output that the server says is there, read-only; None where that is not in the memory it was given."""
        outputs = self._outputs
        if outputs is None or region != outputs.name or not 0 <= offset <= offset + size_bytes <= outputs.size_bytes:
            return None
        if self.shown is None:
            self.shown = outputs.view()
        self.taken_bytes += aligned(size_bytes)
        return self.shown[offset : offset + size_bytes].data
