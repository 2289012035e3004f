"""Models on disk, in words, and a lifecycle whose loader is a double. Loads nothing, looks at no disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path

from sardonyx_server.engine.models.lifecycle import Lifecycle
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State, VersionStatus
from sardonyx_server.engine.running.model import Model
from sardonyx_server.repository.spec import BrokenModel, ModelSpec
from sardonyx_wire.messages import ModelConfig
from tests.e2e.servers import eventually
from tests.server.engine.doubles import (
    PATIENCE_S,
    Array,
    FakeCall,
    FakeSession,
    check,
    doubling,
    message,
    model_of,
    rows_of,
    signature,
)

__all__ = ["Busy", "Server", "broken", "spec"]


def spec(name: str, versions: Mapping[int, str], *, warnings: tuple[str, ...] = ()) -> ModelSpec:
    """A model on disk; versions are given with the fingerprints of their files."""
    return ModelSpec(
        name=name,
        folder=Path(name),
        versions=tuple(versions),
        files={version: Path(name) / str(version) / "model.onnx" for version in versions},
        config=ModelConfig(name=name),
        declines_batching=False,
        labels={},
        fingerprint=" ".join(versions.values()),
        version_fingerprints=versions,
        warnings=warnings,
    )


def broken(name: str, reason: str) -> BrokenModel:
    """Something on disk that is no model."""
    return BrokenModel(name=name, folder=Path(name), reason=reason, fingerprint=reason)


class Server:
    """A lifecycle with a loader that is a double: what it does with a version is looked up by its fingerprint.

    Args:
        release_memory: Told when memory is to be given back, soon after nothing more is loaded.
    """

    def __init__(self, release_memory: Callable[[], None] = lambda: None) -> None:
        self.registry = Registry()
        self.loads: list[tuple[str, int]] = []
        self.done: list[tuple[str, int, int]] = []
        self.models: list[Model] = []
        self.made_of: dict[Model, str] = {}
        self.outcomes: dict[str, Exception] = {}
        self.on_load: Callable[[str, int], None] = lambda _name, _version: None
        self.make: Callable[[str, int], Model] = lambda name, version: model_of(
            doubling(), of=signature(name=name, version=version)
        )
        self.lifecycle = Lifecycle(
            self.registry,
            self._load,
            drain_timeout_s=PATIENCE_S,
            on_model=lambda *progress: self.done.append(progress),
            release_memory=release_memory,
            quiet_s=0.001,
        )
        self.lifecycle.start()

    def _load(self, spec: ModelSpec, version: int, tell: Callable[[State], None]) -> Model:
        self.loads.append((spec.name, version))
        tell(State.WARMING)
        self.on_load(spec.name, version)
        outcome = self.outcomes.get(spec.version_fingerprints[version])
        if outcome is not None:
            raise outcome
        model = self.make(spec.name, version)
        self.models.append(model)
        self.made_of[model] = spec.version_fingerprints[version]
        return model

    def serve(self, *wanted: ModelSpec | BrokenModel) -> None:
        """Serve these, and wait until that is so."""
        assert self.lifecycle.reconcile({each.name: each for each in wanted}).wait(PATIENCE_S)

    def load(self, spec: ModelSpec | BrokenModel) -> Future[None]:
        """Ask for one model, which lies on disk like this."""
        return self.lifecycle.load(spec.name, lambda: nullcontext(spec))

    def unload(self, name: str) -> Future[None]:
        """Ask for the end of one model."""
        return self.lifecycle.unload(name, lambda: None)

    def status(self, name: str, version: int) -> VersionStatus:
        """How a version stands."""
        return self.registry.entries()[name].versions[version]

    def is_closed(self, model: Model) -> bool:
        """Whether a model has been drained and its session freed."""
        (session,) = model._sessions
        assert isinstance(session, FakeSession)
        return session.closed == 1

    def assert_closed(self, *models: Model) -> None:
        """They are drained and their sessions freed, now or soon: drains end by themselves."""
        for model in models:
            eventually(lambda model=model: self.is_closed(model), "closed")  # type: ignore[misc]  # binds the loop


class Busy:
    """A model with a run under way, which lasts until it is let go: so long its drain takes."""

    def __init__(self, name: str = "m", version: int = 1) -> None:
        self._entered = threading.Event()
        self._open = threading.Event()
        self.call = FakeCall()  # the last run's
        self.model = model_of(FakeSession(self._answer), of=signature(name=name, version=version), runners=1)
        self.model.start()

    def run(self) -> None:
        """Begin the run; one more when it has ended."""
        self._entered.clear()
        self._open.clear()
        self.call = FakeCall()
        request = message({"x": rows_of(0, 1)})
        plan, tensors = check(self.model.signature, request)
        self.model.submit(self.call, plan, tensors, b"", 1)
        self.model.queue.wake()
        assert self._entered.wait(PATIENCE_S)

    def let_go(self) -> None:
        """End the run. May be repeated."""
        self._open.set()

    def _answer(self, feeds: Mapping[str, Array]) -> list[Array]:
        self._entered.set()
        assert self._open.wait(PATIENCE_S)
        return [feeds["x"] * 2]
