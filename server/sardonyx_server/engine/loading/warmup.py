"""Warm-up requests that an operator wrote into config.pbtxt (``model_warmup``): made into inputs, then run at load.

Reads data files from the model's ``warmup`` folder only. A model without samples is warmed by the probe, not here.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_server.engine.measuring.synth import fill
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
    from sardonyx_server.repository.shapes import Tensor
    from sardonyx_wire.datatypes import Datatype
    from sardonyx_wire.messages import ModelConfig, ModelWarmup
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Sample", "read_samples", "warm_up"]

_FOLDER: Final = "warmup"
# One input of one run. A mistyped dimension asks for far more; real inputs stay far below.
_MAX_ELEMENTS: Final = 2**28
# All samples of a config are in memory at once, and a config may come from a caller.
_MAX_BYTES: Final = 1024 * 1024 * 1024
# What a text, or its place, takes at least.
_TEXT_BYTES: Final = 8
# BYTES elements differ in length, so their file has no size of its own to be checked against.
_MAX_BYTES_FILE: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One warm-up request.

    Attributes:
        name: The operator's name for it; ``#2`` for the second where it has none.
        runs: How often to run it, >= 1.
        feeds: Input -> array, with the batch axis where the model has one.
    """

    name: str
    runs: int
    feeds: Mapping[str, NDArray[Any]]


def read_samples(
    config: ModelConfig, inputs: Sequence[Tensor], *, folder: Path | None, batched: bool
) -> tuple[Sample, ...]:
    """Make the samples of a config into inputs.

    Args:
        config: What config.pbtxt says.
        inputs: Those that are served. The dims of a sample are the callers'; the graph gets what it would get of them.
        folder: The model's folder; None where it has none (a single ``.onnx`` file).
        batched: The model has a batch axis: ``batch_size`` repeats the data along it, and dims may leave it out.

    Returns:
        In the order of the config; () where it has none.

    Raises:
        LoadFailed: A sample does not suit the model, or its file cannot be used. Names sample and input.
    """
    room = _Room()
    return tuple(
        _sample(warmup, warmup.name or f"#{number}", inputs, room, folder=folder, batched=batched)
        for number, warmup in enumerate(config.model_warmup, start=1)
    )


def warm_up(session: Session, samples: Sequence[Sample]) -> None:
    """Run every sample as often as it says. Blocks until done; the answers are thrown away.

    Raises:
        LoadFailed: The model raised; names the sample.
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
    inputs: Sequence[Tensor],
    room: _Room,
    *,
    folder: Path | None,
    batched: bool,
) -> Sample:
    """One sample as inputs."""
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
            data = _data(warmup.inputs[spec.name], spec, folder, room)
            batch = _batch(data, spec, rows, room, batched=batched)
        except (WireError, _Unusable) as error:
            raise LoadFailed(f"{where}: {error}") from error
        feeds[spec.name] = _for_graph(batch, tensor, batched=batched)
    return Sample(name=name, runs=max(1, warmup.count), feeds=feeds)


class _Unusable(Exception):
    """The data of one input cannot be made; the text says why."""


class _Room:
    """What is left of the memory that samples may take."""

    def __init__(self) -> None:
        self._left_bytes = _MAX_BYTES

    def take(self, count_bytes: int) -> None:
        """Raises _Unusable where there is not as much."""
        self._left_bytes -= count_bytes
        if self._left_bytes < 0:
            raise _Unusable(f"the samples of this model have more than {_MAX_BYTES:,} bytes together; give fewer")


def _data(given: ModelWarmup.Input, spec: TensorSpec, folder: Path | None, room: _Room) -> NDArray[Any]:
    """The tensor of one input in the dims of the config, without regard to batching."""
    known = given.data_type in DataType.values()
    type_name = DataType.Name(given.data_type) if known else str(given.data_type)
    datatype = BY_CONFIG_NAME.get(type_name)
    if datatype is None or datatype.name != spec.datatype:
        got = type_name if datatype is None else datatype.name
        raise _Unusable(f"expected data_type of {spec.datatype}, got {got}")
    dims = tuple(given.dims)
    room.take(element_count(dims, limit=_MAX_ELEMENTS) * (datatype.itemsize or _TEXT_BYTES))
    source = given.WhichOneof("input_data_type")
    if source == "zero_data":
        return np.zeros(dims, datatype.dtype) if datatype.itemsize else np.full(dims, "", object)
    if source == "random_data":
        return fill(spec.datatype, dims, rng=np.random.default_rng(0))
    if source == "input_data_file":
        return _read(given.input_data_file, datatype, dims, folder, room)
    raise _Unusable("no data; give one of zero_data, random_data and input_data_file")


def _for_graph(data: NDArray[Any], tensor: Tensor, *, batched: bool) -> NDArray[Any]:
    """The form the graph gets of data that have the callers' form."""
    if tensor.reshape is None:
        return data
    skip = 1 if batched else 0
    dims = tensor.reshape.for_graph(data.shape[skip:])
    if dims is None:
        raise AssertionError("bug: a sample has passed whose dims are not the callers'")
    return data.reshape((*data.shape[:skip], *dims))


def _batch(data: NDArray[Any], spec: TensorSpec, rows: int, room: _Room, *, batched: bool) -> NDArray[Any]:
    """Add the batch axis where the dims leave it out, and repeat the data along it."""
    if spec.shape is None:
        return data
    if batched and data.ndim == len(spec.shape) - 1:
        data = data[np.newaxis]
    if data.ndim != len(spec.shape) or any(
        want not in (-1, got) for want, got in zip(spec.shape, data.shape, strict=True)
    ):
        raise _Unusable(f"expected {describe_shape(spec.shape)}, got {describe_shape(data.shape)}")
    if rows == 1:
        return data
    if data.size * rows > _MAX_ELEMENTS:
        raise _Unusable(f"batch_size {rows} makes more than {_MAX_ELEMENTS:,} elements; lower it")
    room.take(data.nbytes * (rows - 1))
    return np.concatenate([data] * rows)


def _read(name: str, datatype: Datatype, dims: tuple[int, ...], folder: Path | None, room: _Room) -> NDArray[Any]:
    """The tensor in a file of the warmup folder: raw, as it travels in a request."""
    expected = element_count(dims) * datatype.itemsize if datatype.itemsize else _MAX_BYTES_FILE
    data = _file_bytes(name, folder, limit=expected + 1)
    if datatype.itemsize and len(data) != expected:
        size = f"{expected} bytes for {datatype.name} {describe_shape(dims)}"
        raise _Unusable(f"file {quoted(name)}: expected {size}, got {'more' if len(data) > expected else len(data)}")
    if not datatype.itemsize:
        room.take(len(data))
    array = decode_raw(datatype, dims, data)
    if datatype.itemsize:
        return array
    return object_array(decode_utf8(array.ravel().tolist()), dims)


def _file_bytes(name: str, folder: Path | None, *, limit: int) -> bytes:
    """Up to ``limit`` bytes of a regular file that is, links resolved, inside the warmup folder."""
    relative = PurePosixPath(name)
    if folder is None:
        raise _Unusable(f"file {quoted(name)}: the model has no folder that could hold it")
    if not name or "\0" in name or relative.is_absolute() or ".." in relative.parts:
        raise _Unusable(f"file {quoted(name)}: must be the name of a file in the model's {_FOLDER} folder")
    try:
        root = (folder / _FOLDER).resolve()
        path = (root / relative).resolve()
        if not path.is_relative_to(root):
            raise _Unusable(f"file {quoted(name)}: leads out of the model's {_FOLDER} folder")
        with open(path, "rb", opener=_open_at_once) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read(limit)
    except OSError as error:
        raise _Unusable(f"file {quoted(name)}: cannot be read ({error.strerror})") from error
    except RuntimeError as error:
        # What resolve() raises for links in a circle, up to Python 3.12.
        raise _Unusable(f"file {quoted(name)}: cannot be read (its links lead in a circle)") from error
    raise _Unusable(f"file {quoted(name)}: is not a regular file")


def _open_at_once(path: str, flags: int) -> int:
    """Open without following a link, and without waiting for ever for the writer of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _list(names: Mapping[str, Tensor]) -> str:
    return ", ".join(map(quoted, names)) or "none"
