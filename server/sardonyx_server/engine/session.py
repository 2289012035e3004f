"""The seam between the engine and a runtime: what one opened model can do. Knows no runtime and opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Session"]


class Session(Protocol):
    """One opened model.

    Tensors are numpy arrays in C order: numbers little-endian, BF16 as the uint16 of its bits, BYTES as object arrays
    of ``str``.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the graph takes, in its order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the graph gives, in its order."""

    @property
    def provider(self) -> str:
        """The execution provider that owns the most nodes, such as ``CPUExecutionProvider``."""

    @property
    def threads(self) -> int:
        """Intra-op threads of one run; 0 where that has no meaning."""

    def run(self, output_names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.generic]]:
        """Run the model once. Callable from any thread, from several at once; blocks until the run ends.

        Args:
            output_names: Outputs wanted, in the order of the answer.
            feeds: Name -> array. Only read, and not kept after the call.

        Returns:
            One array for each name; they belong to the caller.

        Raises:
            ExecutionFailed: The model raised. The message is safe to show to callers.
        """

    def terminate(self, *, for_good: bool = False) -> None:
        """End every run in progress, soon: each raises ExecutionFailed. Any thread.

        Args:
            for_good: Later runs raise as well, at once; otherwise they are not affected.
        """

    def close(self) -> None:
        """Free what the session holds. Requires: no run is in progress or follows."""
