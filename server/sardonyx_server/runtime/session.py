"""Opens a model with onnxruntime on given providers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sardonyx_server.runtime import ort_import
from sardonyx_server.runtime.catalogue import CPU, PROVIDERS
from sardonyx_server.runtime.native_session import (
    model_source,
    open_native_session,
    provider_nodes,
    run_options,
    session_options,
)
from sardonyx_server.runtime.ort_session import OrtSession
from sardonyx_server.runtime.placement import ProviderOption
from sardonyx_server.runtime.run_functions import choose_run_function
from sardonyx_server.runtime.session_signature import session_signature
from sardonyx_server.runtime.tuning import SessionTuning
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sardonyx_wire.tensors import TensorSpec

__all__ = ["open_session"]

_CPU_ONLY: Final = (ProviderOption(name=CPU.name),)
_CUDA_LIBRARIES: Final = frozenset({PROVIDERS["cuda"].name, PROVIDERS["tensorrt"].name})


def open_session(
    *,
    name: str,
    model_bytes: bytes | None = None,
    path: Path | None = None,
    has_external_data: bool = True,
    signature: tuple[Sequence[TensorSpec], Sequence[TensorSpec]] | None = None,
    providers: Sequence[ProviderOption] = _CPU_ONLY,
    threads: int = 1,
    tuning: SessionTuning | None = None,
) -> OrtSession:
    """Open a model. Blocks while onnxruntime reads and optimises it, without the GIL.

    Args:
        name: Of the model, for messages.
        model_bytes: The model, without external data. Not retained.
        path: Of the model. Exactly one of the two must be given.
        has_external_data: Whether external data may be read beside ``path``; a model in bytes has none.
        signature: Inputs and outputs as the graph declares them, in its order. None = as onnxruntime reports them,
            which cannot distinguish a scalar from an undeclared shape: both become ``shape=None``.
        providers: In order of preference. All of them must start, or the load fails.
        threads: Intra-op threads, 1 or more; ``tuning.intra_op_threads`` takes precedence.
        tuning: Further session parameters.

    Raises:
        LoadFailed: Says what is wrong with the model or the machine, and what to do.
    """
    source = model_bytes if path is None else model_source(path, providers, has_external_data=has_external_data)
    if source is None or (model_bytes is not None and path is not None):
        raise TypeError("bug: open_session takes model_bytes or path, one of them")
    tuning = tuning or SessionTuning()
    threads = tuning.intra_op_threads or threads
    names = [option.name for option in providers]
    on_gpu = any(provider.name in names for provider in PROVIDERS.values() if provider.kind == "gpu")
    runtime = ort_import.import_onnxruntime()
    if not _CUDA_LIBRARIES.isdisjoint(names):
        ort_import.preload_gpu_libraries(runtime)
    options = session_options(
        runtime, tuning, threads=threads, has_external_data=has_external_data and path is not None
    )
    native = open_native_session(runtime, name, source, options, providers)
    found = session_signature(native, name)
    if signature is not None:
        given = tuple(signature[0]), tuple(signature[1])
        # onnxruntime does not report inputs with a default (overridable initializers) as inputs.
        required = [spec.name for spec in given[0] if not spec.optional], [spec.name for spec in given[1]]
        if required != tuple([spec.name for spec in side] for side in found):
            raise ValueError(f"bug: the signature of model {quoted(name)} is not that of its graph")
        found = given
    nodes = provider_nodes(native)
    return OrtSession(
        name=name,
        signature=found,
        call=choose_run_function(runtime, native, name, *found, on_gpu=on_gpu),
        run_options=partial(run_options, runtime, tuning),
        provider=next(iter(nodes), names[0]),
        provider_nodes=nodes,
        threads=0 if on_gpu else threads,
    )
