"""An open model: runs it and translates its errors. session.py opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sardonyx_server.errors import ExecutionFailed
from sardonyx_server.runtime.error_messages import run_error_message
from sardonyx_server.runtime.process import deferred_heap_trim
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_server.runtime.run_functions import RunFunction
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["OrtSession"]


class OrtSession:
    """An open model. Implements ``engine.session.Session``.

    Attributes:
        name: Of the model, for messages.
        inputs: In graph order.
        outputs: In graph order.
        provider: onnxruntime's name of the provider that owns the most nodes.
        provider_nodes: Provider -> number of its nodes before fusion; empty if onnxruntime does not report it.
        threads: Intra-op threads on the CPU; 0 on a GPU.
    """

    __slots__ = (
        "_call",
        "_options",
        "_required",
        "_run_options",
        "_string_inputs",
        "inputs",
        "name",
        "outputs",
        "provider",
        "provider_nodes",
        "threads",
    )

    def __init__(
        self,
        *,
        name: str,
        signature: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        call: RunFunction,
        run_options: Callable[[], Any],
        provider: str,
        provider_nodes: Mapping[str, int],
        threads: int,
    ) -> None:
        self.name = name
        self.inputs, self.outputs = signature
        self.provider = provider
        self.provider_nodes = provider_nodes
        self.threads = threads
        self._call = call
        self._run_options = run_options
        self._required = frozenset(spec.name for spec in self.inputs if not spec.optional)
        self._string_inputs = tuple(spec.name for spec in self.inputs if spec.datatype == "BYTES")
        # RunOptions shared by all runs in progress; terminating it ends all of them.
        self._options = run_options()

    def run(self, output_names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.generic]]:
        """Run the model once; see ``Session.run``.

        Args:
            output_names: Requested outputs, in the order of the result; not empty.
            feeds: Name -> array in native byte order; BF16 as uint16 bits, BYTES as object arrays of ``str``.

        Raises:
            ExecutionFailed: The model failed, or the run was terminated.
            TypeError: A BYTES input holds anything but ``str``, or a required input is missing: a bug of this server.
                onnxruntime would read 'S' arrays out of bounds, use the repr of ``bytes``, and run kernels on null.
        """
        for string_input in self._string_inputs:
            _check_strings(string_input, feeds.get(string_input))
        if not self._required <= feeds.keys():
            missing = ", ".join(sorted(self._required - feeds.keys()))
            raise TypeError(f"bug: run of model {quoted(self.name)} without input {missing}")
        try:
            return self._call(output_names, feeds, self._options)
        except _ClosedError:
            raise
        except Exception as error:
            raise ExecutionFailed(_failure_text(self.name, error)) from error

    def terminate(self, *, for_good: bool = False) -> None:
        """Terminate every run in progress; with ``for_good`` also later ones.

        onnxruntime checks the flag between nodes and loop iterations; a single long kernel is not interrupted.
        """
        running = self._options
        if not for_good:
            self._options = self._run_options()
        running.terminate = True

    def close(self) -> None:
        """Free the model and its arena. Requires: no run is in progress."""
        # The session is destroyed with its last reference, while the GIL is held.
        with deferred_heap_trim():
            self._call = _closed


class _ClosedError(RuntimeError):
    """The session was closed: a bug of this server, not a failure of the model."""


def _check_strings(name: str, array: object) -> None:
    """Raise unless the value is an object array of ``str`` only. Takes 20 ns per element (2026-11-23)."""
    if array is None:
        return
    if not isinstance(array, np.ndarray) or array.dtype != np.object_:
        raise TypeError(f"bug: BYTES input {quoted(name)} must be an object array of str, got {_describe(array)}")
    strangers = set(map(type, array.ravel().tolist())) - {str}
    if strangers:
        found = ", ".join(sorted(stranger.__name__ for stranger in strangers))
        raise TypeError(f"bug: BYTES input {quoted(name)} must hold str alone, found {found}")


def _describe(value: object) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def _failure_text(name: str, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"model {quoted(name)} failed while it ran: it gave a string that is not UTF-8"
    if isinstance(error, MemoryError):
        return f"model {quoted(name)} failed while it ran: not enough memory"
    return run_error_message(name, str(error))


def _closed(_names: Sequence[str], _feeds: Mapping[str, NDArray[Any]], _options: Any) -> list[NDArray[np.generic]]:
    raise _ClosedError("bug: a session was run after it was closed")
