"""Facade of the runtime layer: decides where a model runs on this machine, and opens it there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sardonyx_server.errors import SettingsError
from sardonyx_server.runtime.environment import describe_environment
from sardonyx_server.runtime.placement import read_placement_request
from sardonyx_server.runtime.provider_selection import select_providers
from sardonyx_server.runtime.session import open_session
from sardonyx_server.runtime.tuning import read_tuning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sardonyx_server.runtime.ort_session import OrtSession
    from sardonyx_server.runtime.placement import Placement, ProviderOption
    from sardonyx_wire.messages import ModelConfig
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["OrtBackend"]


class OrtBackend:
    """onnxruntime on this machine, as configured for one server.

    Args:
        requested: Execution providers in order of preference, short names, or ``("auto",)``.
        cores: Cores to divide among the runners of a model; 0 = all available to this process.
        cache_folder: Where TensorRT and OpenVINO may cache compiled models; None = no cache.

    Raises:
        SettingsError: The cache folder is not writable.
    """

    __slots__ = ("_cache_folder", "_environment", "_requested", "cores")

    def __init__(self, *, requested: Sequence[str], cores: int, cache_folder: Path | None = None) -> None:
        if cache_folder is not None and not os.access(cache_folder, os.W_OK | os.X_OK):
            raise SettingsError(
                f"provider_cache_dir: cannot write in {str(cache_folder)!r}; name a folder that exists and is writable"
            )
        self._cache_folder = "" if cache_folder is None else str(cache_folder)
        self._environment = describe_environment()
        self._requested = tuple(requested)
        self.cores = cores or self._environment.cores

    @property
    def onnxruntime_version(self) -> str:
        """Such as ``1.32.0``."""
        return self._environment.onnxruntime_version

    def place(
        self, config: ModelConfig, inputs: tuple[TensorSpec, ...], digest: bytes
    ) -> tuple[Placement, tuple[str, ...]]:
        """Decide where a model runs; returns the placement and warnings for the operator.

        Args:
            config: Of the model.
            inputs: The served inputs, as declared by the graph.
            digest: Of its files.

        Raises:
            LoadFailed: A requested provider or device is unavailable; says what to do.
        """
        request, warnings = read_placement_request(
            config, inputs=inputs, cache_folder=self._cache_folder, content=digest.hex()
        )
        return select_providers(
            self._requested, self._environment.available, self._environment.gpu_count, request
        ), warnings

    def threads_asked(self, config: ModelConfig) -> int | None:
        """Intra-op threads set by the config; None if it leaves them to the server.

        Raises:
            LoadFailed: A parameter of the config is invalid.
        """
        return read_tuning(config).intra_op_threads

    def open(
        self,
        *,
        config: ModelConfig,
        model_bytes: bytes | None,
        path: Path | None,
        has_external_data: bool,
        signature: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        providers: Sequence[ProviderOption],
        threads: int,
    ) -> OrtSession:
        """Open a model; see :func:`~sardonyx_server.runtime.session.open_session`."""
        return open_session(
            name=config.name,
            model_bytes=model_bytes,
            path=path,
            has_external_data=has_external_data,
            signature=signature,
            providers=providers,
            threads=threads,
            tuning=read_tuning(config),
        )
