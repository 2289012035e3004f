"""The index of models, and loading and unloading by name, as Triton's clients ask for it. Loads no model itself.

Knows no gRPC: each method takes a request message and returns the response message, or raises an error of
sardonyx_server.errors.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.engine.models.states import State
from sardonyx_server.errors import InvalidRequest, LoadFailed, ModelUnavailable, NotFound
from sardonyx_server.repository.model_override import parse_config_override, uploaded_model
from sardonyx_server.repository.scan import find_model, scan
from sardonyx_server.repository.spec import BrokenModel, ModelSpec, name_problem
from sardonyx_server.rpc.other_rpcs.load_parameters import check_unload_parameters, read_load_parameters
from sardonyx_server.text import quoted
from sardonyx_wire.messages import (
    RepositoryIndexResponse,
    RepositoryModelLoadResponse,
    RepositoryModelUnloadResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.models.states import Entry
    from sardonyx_server.repository.spec import ConfigOverride
    from sardonyx_server.rpc.other_rpcs.load_parameters import LoadParameters
    from sardonyx_wire.messages import (
        RepositoryIndexRequest,
        RepositoryModelLoadRequest,
        RepositoryModelUnloadRequest,
    )

__all__ = ["Loads", "ModelRepository"]

_READY: Final = "READY"
# Triton's terms (triton/core/tritonserver.h, "model state"); a model that was never loaded has none.
_STATES: Final[Mapping[State, str]] = {
    State.NEW: "LOADING",
    State.LOADING: "LOADING",
    State.WARMING: "LOADING",
    State.READY: _READY,
    State.DRAINING: "UNLOADING",
    State.CLOSED: "UNAVAILABLE",
    State.FAILED: "UNAVAILABLE",
}
_NEVER_TRIED: Final = ""


class Loads(Protocol):
    """Loads and unloads models: ``engine.models.lifecycle.Lifecycle``, or a test double."""

    def load(self, name: str, find: Callable[[], AbstractContextManager[ModelSpec | BrokenModel]]) -> Future[None]:
        """Load one model, or its changes."""

    def unload(self, name: str, check: Callable[[], None]) -> Future[None]:
        """Unload one model."""


class ModelRepository:
    """Answers the RPCs of the model repository extension. Any thread.

    Args:
        registry: The registry of the models that are or were served.
        loads: Loads and unloads the models.
        paths: Folders of the model repositories.
        control_mode: The operator's ``--model-control-mode``; callers may load and unload only if it is ``explicit``.
    """

    __slots__ = ("_control_mode", "_loads", "_paths", "_registry")

    def __init__(self, registry: Registry, loads: Loads, *, paths: Sequence[Path], control_mode: str) -> None:
        self._registry = registry
        self._loads = loads
        self._paths = tuple(paths)
        self._control_mode = control_mode

    def index(self, request: RepositoryIndexRequest) -> RepositoryIndexResponse:
        """Every model and version that is on disk, is loaded or was loaded.

        Reads the disk, unless the request asks for ready models of all repositories.

        Raises:
            NotFound: No repository has that name.
        """
        paths = self._paths_of(request.repository_name)
        entries = self._registry.entries()
        found = {} if request.ready and not request.repository_name else scan(paths)
        names = found.keys() if request.repository_name else found.keys() | entries.keys()
        models = [row for name in sorted(names) for row in _rows(name, entries.get(name), found.get(name))]
        return RepositoryIndexResponse(models=[row for row in models if row.state == _READY or not request.ready])

    def load(
        self, request: RepositoryModelLoadRequest, wait: Callable[[Future[None]], None]
    ) -> RepositoryModelLoadResponse:
        """Load a model, or its changes. Blocks until it is ready or has failed.

        Raises:
            ModelUnavailable: The server does not run with ``--model-control-mode explicit``.
            NotFound: No repository has that name, or that model.
            InvalidRequest: A parameter is wrong, or the config or files of the call cannot be loaded.
            LoadFailed: The model on disk cannot be loaded.
        """
        self._require_explicit("RepositoryModelLoad")
        name = request.model_name
        paths = self._paths_of(request.repository_name)
        parameters = read_load_parameters(request.parameters)
        if parameters.config is None:
            wait(self._loads.load(name, partial(_on_disk, paths, name, None)))
            return RepositoryModelLoadResponse()
        try:
            given = parse_config_override(parameters.config, name)
            wait(self._loads.load(name, self._given(paths, name, given, parameters)))
        except LoadFailed as error:
            # The config or files of the call are wrong, or do not fit the model on disk: the caller can correct them.
            raise InvalidRequest(error.message, field="parameters", reason=error.reason) from error
        return RepositoryModelLoadResponse()

    def unload(
        self, request: RepositoryModelUnloadRequest, wait: Callable[[Future[None]], None]
    ) -> RepositoryModelUnloadResponse:
        """Unload a model. Blocks until its admitted requests are answered. A model that is not loaded is not an error.

        Raises:
            ModelUnavailable: The server does not run with ``--model-control-mode explicit``.
            NotFound: No repository has that name, or that model.
            InvalidRequest: A parameter is wrong.
        """
        self._require_explicit("RepositoryModelUnload")
        paths = self._paths_of(request.repository_name)
        check_unload_parameters(request.parameters)
        wait(self._loads.unload(request.model_name, partial(self._check_known, request, paths)))
        return RepositoryModelUnloadResponse()

    def _given(
        self, paths: Sequence[Path], name: str, given: ConfigOverride, parameters: LoadParameters
    ) -> Callable[[], AbstractContextManager[ModelSpec | BrokenModel]]:
        if not parameters.files:
            return partial(_on_disk, paths, name, given)
        problem = name_problem(name)
        if problem:
            raise InvalidRequest(f"model name {quoted(name)}: {problem}", field="model_name")
        return partial(uploaded_model, name, given, parameters.files)

    def _check_known(self, request: RepositoryModelUnloadRequest, paths: Sequence[Path]) -> None:
        name = request.model_name
        if name in self._registry.entries() and not request.repository_name:
            return
        if find_model(paths, name) is None:
            raise _unknown(f"model {quoted(name)} cannot be unloaded", name)

    def _require_explicit(self, rpc: str) -> None:
        if self._control_mode != "explicit":
            raise ModelUnavailable(
                f"{rpc} is off, since this server runs with --model-control-mode {self._control_mode}; start it with "
                "--model-control-mode explicit",
                reason="MODEL_CONTROL_MODE",
            )

    def _paths_of(self, repository: str) -> Sequence[Path]:
        """The paths with that name, or all for an empty name. The name is only compared, never used as a path."""
        if not repository:
            return self._paths
        paths = [path for path in self._paths if _repository_name(path) == repository]
        if not paths:
            known = ", ".join(quoted(_repository_name(path)) for path in self._paths) or "none"
            raise NotFound(
                f"unknown repository {quoted(repository)}: expected one of {known}, or none for all",
                reason="REPOSITORY_NOT_FOUND",
            )
        return paths


@contextmanager
def _on_disk(paths: Sequence[Path], name: str, given: ConfigOverride | None) -> Iterator[ModelSpec | BrokenModel]:
    spec = find_model(paths, name, given)
    if spec is None:
        # Triton's examples search the message for "failed to load".
        raise _unknown(f"model {quoted(name)} failed to load", name)
    if given is not None and isinstance(spec, BrokenModel):
        # An error in what a caller sent says nothing about the model on disk: the registry must not record it.
        raise LoadFailed(f"model {quoted(name)} failed to load: {spec.reason}")
    yield spec


def _unknown(what: str, name: str) -> NotFound:
    why = "no repository has it" if name else "its name is empty"
    return NotFound(f"{what}: {why}; RepositoryIndex tells which models there are", reason="MODEL_NOT_FOUND")


def _repository_name(path: Path) -> str:
    """The last part of a path; for ``.`` and ``..``, of the path that they resolve to."""
    return path.name if path.name not in {"", ".."} else path.resolve().name


def _rows(
    name: str, entry: Entry | None, found: ModelSpec | BrokenModel | None
) -> Iterator[RepositoryIndexResponse.ModelIndex]:
    row = partial(RepositoryIndexResponse.ModelIndex, name=name)
    versions = entry.versions if entry else {}
    problem = entry.problem if entry else ""
    if isinstance(found, BrokenModel):
        problem = problem or found.reason
    if not versions:
        state = _STATES[State.FAILED] if problem else _NEVER_TRIED
        yield row(state=state, reason=problem)
        return
    on_disk = found.versions if isinstance(found, ModelSpec) else ()
    for number in sorted({*versions, *on_disk}):
        status = versions.get(number)
        if status is None:
            yield row(version=str(number), state=_NEVER_TRIED)
        else:
            yield row(version=str(number), state=_STATES[status.state], reason=status.reason or problem)
