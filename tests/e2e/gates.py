"""Stops a run of a model on its way into onnxruntime for as long as a test likes, has it fail there, or watches it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_server.engine.loading.load_context import Runtime
    from sardonyx_wire.messages import ModelConfig
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Gate", "GatedRuntime", "Hold"]

_BOUND_S: Final = 120.0


class Hold:
    """One run that waits.

    Attributes:
        entered: Set when the run has come to the gate.
    """

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Let the run go on. Can be repeated."""
        self._released.set()

    def pass_through(self) -> None:
        """Wait for the release. On the thread that runs the model."""
        self.entered.set()
        assert self._released.wait(_BOUND_S), "a test forgot to release its gate"


class Gate:
    """Holds runs by the name of their model."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}
        self._errors: dict[str, Exception] = {}
        self._watchers: dict[str, Callable[[Mapping[str, NDArray[Any]]], None]] = {}

    def hold(self, model: str) -> Hold:
        """Stop the next run of this model."""
        hold = self._holds[model] = Hold()
        return hold

    def fail(self, model: str, error: Exception) -> None:
        """Have the next run of this model raise something that no model raises."""
        self._errors[model] = error

    def watch(self, model: str, watcher: Callable[[Mapping[str, NDArray[Any]]], None]) -> None:
        """Have the feeds of every run of this model shown when it has ended well, on the thread that ran it."""
        self._watchers[model] = watcher

    def ended(self, model: str, feeds: Mapping[str, NDArray[Any]]) -> None:
        """A run of this model has ended."""
        watcher = self._watchers.get(model)
        if watcher is not None:
            watcher(feeds)

    def pass_through(self, model: str) -> None:
        """Wait if a run of this model is to be stopped, raise if it is to fail; the run after it does neither."""
        error = self._errors.pop(model, None)
        if error is not None:
            raise error
        hold = self._holds.pop(model, None)
        if hold is not None:
            hold.pass_through()


class GatedRuntime:
    """Opens models as the runtime does, with a gate before each run. See ``engine.loading.load_context.Runtime``."""

    def __init__(self, runtime: Runtime, gate: Gate) -> None:
        self._runtime = runtime
        self._gate = gate
        self.cores = runtime.cores

    def place(self, config: ModelConfig, inputs: tuple[TensorSpec, ...], digest: bytes) -> Any:
        """As the runtime does."""
        return self._runtime.place(config, inputs, digest)

    def threads_asked(self, config: ModelConfig) -> int | None:
        """As the runtime does."""
        return self._runtime.threads_asked(config)

    def open(self, *, config: ModelConfig, **more: Any) -> Any:
        """As the runtime does, with the gate before it."""
        return _GatedSession(self._runtime.open(config=config, **more), config.name, self._gate)


class _GatedSession:
    def __init__(self, session: Any, model: str, gate: Gate) -> None:
        self._session = session
        self._model = model
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, output_names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self._gate.pass_through(self._model)
        answer: list[NDArray[Any]] = self._session.run(output_names, feeds)
        self._gate.ended(self._model, feeds)
        return answer
