"""The dims and the reshape that a config states for one tensor: validated against the graph, and applied.

Callers see the dims; the graph sees the shape of ``reshape``, or the dims if there is none. Both omit the batch axis if
``max_batch_size`` > 0, and both may fix axes that are dynamic in the graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sardonyx_server.errors import LoadFailed
from sardonyx_server.text import quoted
from sardonyx_wire.messages import ModelOutput
from sardonyx_wire.tensors import describe_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_wire.messages import ModelInput
    from sardonyx_wire.tensors import TensorSpec

__all__ = [
    "ConfiguredTensor",
    "Reshape",
    "check_batch_axis",
    "check_dims",
    "configure_tensor",
    "graph_dims",
    "is_one_row",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape:
    """The caller's and the graph's shape of one tensor, without the batch axis: the same elements in the same order.

    The n-th -1 of one shape corresponds to the n-th -1 of the other: :func:`check_dims` has checked that the numbers of
    elements between them are equal.

    Attributes:
        callers: Shape in requests and responses; -1 = dynamic.
        graphs: Shape in the graph.
    """

    callers: tuple[int, ...]
    graphs: tuple[int, ...]

    def for_graph(self, dims: Sequence[int]) -> tuple[int, ...] | None:
        """The graph's shape for a tensor sent by a caller with these dims; None if they do not match."""
        return _refit(dims, self.callers, self.graphs)

    def for_caller(self, dims: Sequence[int]) -> tuple[int, ...] | None:
        """The caller's shape for a tensor returned by the graph with these dims; None if they do not match."""
        return _refit(dims, self.graphs, self.callers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredTensor:
    """One input or output under a config.

    Attributes:
        graph: As the graph sees it, with axes fixed by the config.
        caller: As callers see it.
        reshape: Conversion between the two; None if they are equal.
    """

    graph: TensorSpec
    caller: TensorSpec
    reshape: Reshape | None = None


def configure_tensor(
    stated: ModelInput | ModelOutput | None, spec: TensorSpec, max_batch_size: int
) -> ConfiguredTensor:
    """Apply a config to a tensor.

    Args:
        stated: The tensor in the config; None if it is not there.
        spec: As the graph declares it.
        max_batch_size: From the config; above 0 the dims omit the first axis.

    Returns:
        Both views of the tensor. Requires: :func:`check_dims` passed.
    """
    # A scalar looks like unset dims. Unset is more likely, and the graph's shape is right for both.
    if stated is None or not (stated.dims or stated.HasField("reshape")):
        return ConfiguredTensor(graph=spec, caller=spec)
    lead = (-1,) if max_batch_size > 0 else ()
    dims = tuple(stated.dims)
    graph = replace(spec, shape=(*lead, *graph_dims(stated)), dim_names=spec.dim_names)
    if not stated.HasField("reshape"):
        return ConfiguredTensor(graph=graph, caller=graph)
    return ConfiguredTensor(
        graph=graph,
        # The axis names of the graph belong to other axes.
        caller=replace(graph, shape=(*lead, *dims), dim_names=()),
        reshape=Reshape(callers=dims, graphs=tuple(stated.reshape.shape)),
    )


def is_one_row(shape: tuple[int, ...] | None) -> bool:
    """Whether the first axis is declared as 1.

    For an output this proves nothing: exporters that trace a single row declare 1 even if the model returns one row per
    input row. For an input it does, since runtimes reject any other size.
    """
    return shape is not None and shape[:1] == (1,)


def graph_dims(stated: ModelInput | ModelOutput) -> tuple[int, ...]:
    """The dims of the graph's side of a tensor according to the config."""
    return tuple(stated.reshape.shape if stated.HasField("reshape") else stated.dims)


def check_dims(subject: str, stated: ModelInput | ModelOutput, spec: TensorSpec, max_batch_size: int) -> None:
    """Reject dims or a reshape that contradict each other or the graph.

    Args:
        subject: Name of the tensor in messages.
        stated: The tensor in the config; may have no dims.
        spec: As the graph declares the tensor.
        max_batch_size: From the config.

    Raises:
        LoadFailed: Shows both sides.
    """
    reshaped = stated.HasField("reshape")
    for name, shape in (("dims", stated.dims), ("reshape", stated.reshape.shape)):
        if any(size < 1 and size != -1 for size in shape):
            raise LoadFailed(f"{subject} has {name} {describe_shape(shape)}, expected sizes from 1, or -1 for any size")
    if reshaped:
        _check_reshape(subject, stated.dims, stated.reshape.shape)
    if spec.shape is None or not (stated.dims or reshaped):
        return
    dims = graph_dims(stated)
    full = (-1, *dims) if max_batch_size > 0 else dims
    declared = spec.shape
    if max_batch_size > 0 and isinstance(stated, ModelOutput) and is_one_row(declared):
        declared = (-1, *declared[1:])
    # The config may fix a dynamic axis, but not make a fixed axis dynamic.
    if len(full) == len(declared) and all(theirs in {-1, ours} for ours, theirs in zip(full, declared, strict=True)):
        return
    said = f"{'reshape' if reshaped else 'dims'} {describe_shape(dims)}"
    if max_batch_size > 0:
        said += f" and max_batch_size {max_batch_size}, that is {describe_shape(full)}"
    elif (-1, *dims) == spec.shape:
        raise LoadFailed(
            f"{subject} has {said}, the graph says {describe_shape(spec.shape)}; "
            f"set max_batch_size, or write {'reshape' if reshaped else 'dims'} {describe_shape(spec.shape)}"
        )
    raise LoadFailed(f"{subject} has {said}, the graph says {describe_shape(spec.shape)}")


def check_batch_axis(subject: str, kind: str, spec: TensorSpec, max_batch_size: int) -> None:
    """Reject ``max_batch_size`` > 0 for a tensor whose first axis is not dynamic in the graph.

    An output whose first axis is declared as 1 passes; the probe finds out whether it is real.

    Raises:
        LoadFailed: Shows both sides.
    """
    if spec.shape is None or (spec.shape and spec.shape[0] == -1) or (kind == "output" and is_one_row(spec.shape)):
        return
    what = f"has a first axis of fixed size, {describe_shape(spec.shape)}" if spec.shape else "is a scalar"
    raise LoadFailed(
        f"{subject}: max_batch_size is {max_batch_size}, but {kind} {quoted(spec.name)} {what} in the graph; "
        "set max_batch_size to 0, or export the model with a dynamic first axis"
    )


def _check_reshape(subject: str, dims: Sequence[int], shape: Sequence[int]) -> None:
    """Compare the two shapes from one -1 to the next, as Triton does.

    From [2,4,-1,6] to [8,-1,1,6] the dynamic axis keeps its position among the elements; to [-1,8,6] it would not.
    """
    said = f"{subject} has dims {describe_shape(dims)} and reshape {describe_shape(shape)}, which"
    ours, theirs = _between_open_axes(dims), _between_open_axes(shape)
    if len(ours) != len(theirs):
        raise LoadFailed(f"{said} leave different numbers of axes open; write -1 as often in one as in the other")
    if ours != theirs:
        where = "" if len(ours) == 1 else ", counted from each -1 to the next"
        raise LoadFailed(f"{said} hold different numbers of elements{where}")


def _between_open_axes(shape: Sequence[int]) -> list[int]:
    """Number of elements before the first -1, between it and the second, ..., after the last."""
    found = [1]
    for size in shape:
        if size == -1:
            found.append(1)
        else:
            found[-1] = math.prod((found[-1], size))
    return found


def _refit(dims: Sequence[int], source: Sequence[int], target: Sequence[int]) -> tuple[int, ...] | None:
    """``target`` with its dynamic sizes taken from ``dims``, which must match ``source``; None if it does not."""
    if len(dims) != len(source) or any(want not in (-1, got) for want, got in zip(source, dims, strict=True)):
        return None
    sizes = iter([got for want, got in zip(source, dims, strict=True) if want == -1])
    return tuple(next(sizes) if want == -1 else want for want in target)
