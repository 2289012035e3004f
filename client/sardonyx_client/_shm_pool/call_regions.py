"""The shared memory of one inference call: one region for its large inputs, and one for its large outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sardonyx_client._shm_pool.shared_region import SharedRegion

__all__ = ["CallRegions", "aligned"]

# Enough for any datatype and for the widest vector instructions.
_ALIGNMENT: Final = 64


def aligned(size_bytes: int) -> int:
    """Bytes that a tensor of this size occupies in a region."""
    return -(-size_bytes // _ALIGNMENT) * _ALIGNMENT


class CallRegions:
    """The regions of one call.

    Args:
        inputs: Region for inputs; None = inputs are sent in the message.
        outputs: Region that the server may write outputs to; None = outputs come in the message.
        min_bytes: Smaller inputs are sent in the message.

    Attributes:
        outputs_view: View of the whole output region, which every view of an output keeps alive; None until there is an
            output.
        output_bytes: Bytes of the output region that were used.
    """

    __slots__ = ("_free", "_inputs", "_min_bytes", "_outputs", "output_bytes", "outputs_view")

    def __init__(self, inputs: SharedRegion | None, outputs: SharedRegion | None, *, min_bytes: int) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._min_bytes = min_bytes
        self._free = 0
        self.outputs_view: NDArray[Any] | None = None
        self.output_bytes = 0

    def write_input(self, data: bytes | memoryview) -> tuple[str, int, int] | None:
        """Copy an input to its region.

        Returns:
            (region name, bytes, offset); None = it is too small or does not fit, so send it in the message.
        """
        region, offset, size_bytes = self._inputs, self._free, len(data)
        if region is None or not self._min_bytes <= size_bytes <= region.size_bytes - offset:
            return None
        region.write(offset, data)
        self._free += aligned(size_bytes)
        return region.name, size_bytes, offset

    def output_view(self, region: object, offset: int, size_bytes: int) -> memoryview | None:
        """A read-only view of an output; None = the server names a place outside the output region."""
        outputs = self._outputs
        if outputs is None or region != outputs.name or not 0 <= offset <= offset + size_bytes <= outputs.size_bytes:
            return None
        if self.outputs_view is None:
            self.outputs_view = outputs.view()
        self.output_bytes += aligned(size_bytes)
        return self.outputs_view[offset : offset + size_bytes].data
