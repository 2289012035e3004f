"""The interface between the engine and a runtime: one opened model. Knows no runtime and opens nothing."""

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
        """Inputs of the graph, in its order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs of the graph, in its order."""

    @property
    def provider(self) -> str:
        """The execution provider that owns the most nodes, such as ``CPUExecutionProvider``."""

    @property
    def threads(self) -> int:
        """Intra-op threads of one run; 0 where that does not apply."""

    def run(self, output_names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.generic]]:
        """Run the model once. May be called from any thread, and concurrently; blocks until the run ends.

        Args:
            output_names: Requested outputs, in the order of the result.
            feeds: Input name -> array. Only read, and not retained after the call.

        Returns:
            One array for each name, owned by the caller.

        Raises:
            ExecutionFailed: The model raised. The message is safe to show to callers.
        """

    def terminate(self, *, for_good: bool = False) -> None:
        """Terminate all runs in progress: each soon raises ExecutionFailed. Any thread.

        Args:
            for_good: Whether later runs fail immediately as well; otherwise they are not affected.
        """

    def close(self) -> None:
        """Free the resources of the session. Requires: no run is in progress or follows."""
