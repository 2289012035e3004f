"""Warm-up requests from config.pbtxt (``model_warmup``): converted to inputs, and run when the model is loaded.

Reads data files from the model's ``warmup`` folder only. A model without samples is warmed up by the probe, not here.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_server.engine.profiling.synthetic_inputs import random_tensor
from sardonyx_server.errors import LoadFailed, ServerError
from sardonyx_server.text import quoted
from sardonyx_wire.datatypes import BY_CONFIG_NAME
from sardonyx_wire.messages import DataType
from sardonyx_wire.tensors import WireError, decode_raw, decode_utf8, describe_shape, element_count, object_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sardonyx_server.engine.session import Session
    from sardonyx_server.repository.shapes import ConfiguredTensor
    from sardonyx_wire.datatypes import Datatype
    from sardonyx_wire.messages import ModelConfig, ModelWarmup
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Sample", "read_samples", "warm_up"]

_FOLDER: Final = "warmup"
# Most elements of one input of one run. Real inputs stay far below; a mistyped dimension exceeds it.
_MAX_ELEMENTS: Final = 2**28
# Most bytes of all samples of a config, which are in memory at the same time. A config may come from a caller.
_MAX_BYTES: Final = 1024 * 1024 * 1024
# Least memory for one string in an object array.
_STRING_BYTES: Final = 8
# Most bytes of a file of BYTES elements: they vary in length, so the expected size is not known.
_MAX_BYTES_FILE: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One warm-up request.

    Attributes:
        name: The operator's name for it; ``#2`` for the second sample if it has none.
        runs: Number of runs, >= 1.
        feeds: Input name -> array, with the batch axis if the model has one.
    """

    name: str
    runs: int
    feeds: Mapping[str, NDArray[Any]]


def read_samples(
    config: ModelConfig, inputs: Sequence[ConfiguredTensor], *, folder: Path | None, batched: bool
) -> tuple[Sample, ...]:
    """Convert the samples of a config to inputs.

    Args:
        config: The model's config.
        inputs: The inputs that are served. Samples have the dims that callers use, and are reshaped as requests are.
        folder: The model's folder; None for a single ``.onnx`` file.
        batched: Whether the model has a batch axis: ``batch_size`` repeats the data along it, and dims may omit it.

    Returns:
        The samples in the order of the config; () if it has none.

    Raises:
        LoadFailed: A sample does not match the model, or its file cannot be used. The message names sample and input.
    """
    memory = _MemoryBudget()
    return tuple(
        _sample(warmup, warmup.name or f"#{number}", inputs, memory, folder=folder, batched=batched)
        for number, warmup in enumerate(config.model_warmup, start=1)
    )


def warm_up(session: Session, samples: Sequence[Sample]) -> None:
    """Run all samples, each the given number of times, and discard the outputs. Blocks until done.

    Raises:
        LoadFailed: A run failed; the message names the sample.
    """
    names = [spec.name for spec in session.outputs]
    for sample in samples:
        for _ in range(sample.runs):
            try:
                session.run(names, sample.feeds)
            except ServerError as error:
                raise LoadFailed(f"warm-up sample {quoted(sample.name)} failed: {error.message}") from error


def _sample(
    warmup: ModelWarmup,
    name: str,
    inputs: Sequence[ConfiguredTensor],
    memory: _MemoryBudget,
    *,
    folder: Path | None,
    batched: bool,
) -> Sample:
    """Convert one sample to inputs."""
    title = f"warm-up sample {quoted(name)}"
    rows = max(1, warmup.batch_size)
    if rows > 1 and not batched:
        raise LoadFailed(f"{title}: batch_size {rows} for a model that is not batched; set it to 1")
    known = {tensor.caller.name: tensor for tensor in inputs}
    for given in sorted(warmup.inputs):
        if given not in known:
            raise LoadFailed(f"{title}: the model has no input {quoted(given)}; it has {_list(known)}")
    feeds: dict[str, NDArray[Any]] = {}
    for tensor in inputs:
        spec = tensor.caller
        if spec.name not in warmup.inputs:
            if not spec.optional:
                raise LoadFailed(f"{title}: input {quoted(spec.name)} is missing")
            continue
        where = f"{title}: input {quoted(spec.name)}"
        try:
            data = _data(warmup.inputs[spec.name], spec, folder, memory)
            batch = _batch(data, spec, rows, memory, batched=batched)
        except (WireError, _UnusableData) as error:
            raise LoadFailed(f"{where}: {error}") from error
        feeds[spec.name] = _for_graph(batch, tensor, batched=batched)
    return Sample(name=name, runs=max(1, warmup.count), feeds=feeds)


class _UnusableData(Exception):
    """The data of one input cannot be used; the text says why."""


class _MemoryBudget:
    """The memory that is left for samples."""

    def __init__(self) -> None:
        self._left_bytes = _MAX_BYTES

    def take(self, count_bytes: int) -> None:
        """Reserve memory. Raises _UnusableData if there is not enough left."""
        self._left_bytes -= count_bytes
        if self._left_bytes < 0:
            raise _UnusableData(f"the samples of this model have more than {_MAX_BYTES:,} bytes together; give fewer")


def _data(given: ModelWarmup.Input, spec: TensorSpec, folder: Path | None, memory: _MemoryBudget) -> NDArray[Any]:
    """Create the tensor of one input with the dims of the config, regardless of batching."""
    known = given.data_type in DataType.values()
    type_name = DataType.Name(given.data_type) if known else str(given.data_type)
    datatype = BY_CONFIG_NAME.get(type_name)
    if datatype is None or datatype.name != spec.datatype:
        got = type_name if datatype is None else datatype.name
        raise _UnusableData(f"expected data_type of {spec.datatype}, got {got}")
    dims = tuple(given.dims)
    memory.take(element_count(dims, limit=_MAX_ELEMENTS) * (datatype.itemsize or _STRING_BYTES))
    source = given.WhichOneof("input_data_type")
    if source == "zero_data":
        return np.zeros(dims, datatype.dtype) if datatype.itemsize else np.full(dims, "", object)
    if source == "random_data":
        return random_tensor(spec.datatype, dims, rng=np.random.default_rng(0))
    if source == "input_data_file":
        return _read(given.input_data_file, datatype, dims, folder, memory)
    raise _UnusableData("no data; give one of zero_data, random_data and input_data_file")


def _for_graph(data: NDArray[Any], tensor: ConfiguredTensor, *, batched: bool) -> NDArray[Any]:
    """Reshape data from the dims that callers use to those of the graph."""
    if tensor.reshape is None:
        return data
    skip = 1 if batched else 0
    dims = tensor.reshape.for_graph(data.shape[skip:])
    if dims is None:
        raise AssertionError("bug: a sample has passed whose dims are not the callers'")
    return data.reshape((*data.shape[:skip], *dims))


def _batch(data: NDArray[Any], spec: TensorSpec, rows: int, memory: _MemoryBudget, *, batched: bool) -> NDArray[Any]:
    """Add the batch axis if the dims omit it, and repeat the data along it."""
    if spec.shape is None:
        return data
    if batched and data.ndim == len(spec.shape) - 1:
        data = data[np.newaxis]
    if data.ndim != len(spec.shape) or any(
        want not in (-1, got) for want, got in zip(spec.shape, data.shape, strict=True)
    ):
        raise _UnusableData(f"expected {describe_shape(spec.shape)}, got {describe_shape(data.shape)}")
    if rows == 1:
        return data
    if data.size * rows > _MAX_ELEMENTS:
        raise _UnusableData(f"batch_size {rows} makes more than {_MAX_ELEMENTS:,} elements; lower it")
    memory.take(data.nbytes * (rows - 1))
    return np.concatenate([data] * rows)


def _read(
    name: str, datatype: Datatype, dims: tuple[int, ...], folder: Path | None, memory: _MemoryBudget
) -> NDArray[Any]:
    """Read a tensor from a file of the warmup folder, in the raw format of requests."""
    expected = element_count(dims) * datatype.itemsize if datatype.itemsize else _MAX_BYTES_FILE
    data = _file_bytes(name, folder, limit=expected + 1)
    if datatype.itemsize and len(data) != expected:
        size = f"{expected} bytes for {datatype.name} {describe_shape(dims)}"
        raise _UnusableData(
            f"file {quoted(name)}: expected {size}, got {'more' if len(data) > expected else len(data)}"
        )
    if not datatype.itemsize:
        memory.take(len(data))
    array = decode_raw(datatype, dims, data)
    if datatype.itemsize:
        return array
    return object_array(decode_utf8(array.ravel().tolist()), dims)


def _file_bytes(name: str, folder: Path | None, *, limit: int) -> bytes:
    """Read up to ``limit`` bytes of a regular file that is inside the warmup folder once links are resolved."""
    relative = PurePosixPath(name)
    if folder is None:
        raise _UnusableData(f"file {quoted(name)}: the model has no folder that could hold it")
    if not name or "\0" in name or relative.is_absolute() or ".." in relative.parts:
        raise _UnusableData(f"file {quoted(name)}: must be the name of a file in the model's {_FOLDER} folder")
    try:
        root = (folder / _FOLDER).resolve()
        path = (root / relative).resolve()
        if not path.is_relative_to(root):
            raise _UnusableData(f"file {quoted(name)}: leads out of the model's {_FOLDER} folder")
        with open(path, "rb", opener=_open_nonblocking) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read(limit)
    except OSError as error:
        raise _UnusableData(f"file {quoted(name)}: cannot be read ({error.strerror})") from error
    except RuntimeError as error:
        # Up to Python 3.12, resolve() raises this for a loop of links.
        raise _UnusableData(f"file {quoted(name)}: cannot be read (its links lead in a circle)") from error
    raise _UnusableData(f"file {quoted(name)}: is not a regular file")


def _open_nonblocking(path: str, flags: int) -> int:
    """Open without following a link, and without blocking until a FIFO has a writer."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _list(names: Mapping[str, ConfiguredTensor]) -> str:
    return ", ".join(map(quoted, names)) or "none"
