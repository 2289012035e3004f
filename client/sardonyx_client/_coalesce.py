"""Small calls joined into one request and its answer cut apart again. No I/O and no threads: the fronts decide when.

Calls join where everything but the rows is the same: model, version, outputs, parameters, names and datatypes of the
inputs, and all dimensions behind the first. Nothing waits for company: while one request is under way, the calls that
come meanwhile make the next.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from sardonyx_client._errors import BadResponse, InvalidArgument, ResourceExhausted, ServerFault
from sardonyx_client._inference import to_array
from sardonyx_client._values import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from sardonyx_client._values import ParameterValue

__all__ = ["BLAMED_ON_ONE", "Group", "Joinable", "Request", "cut", "join", "joinable"]

BLAMED_ON_ONE = (BadResponse, InvalidArgument, ResourceExhausted, ServerFault)
"""Failures of a joined request that one member may have caused: its members are sent singly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all calls of a group ask, but for their rows.

    Attributes:
        model: Name of the model.
        version: "" = the newest.
        outputs: Wanted; () = all.
        parameters: Of the request.
    """

    model: str
    version: str
    outputs: tuple[str, ...]
    parameters: Mapping[str, ParameterValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joinable:
    """One call that may join others.

    Attributes:
        key: Equal keys may join.
        request: What it asks.
        inputs: Name -> array [rows, ...].
        rows: At least 1.
        request_id: Of the caller; comes back in its own result only.
    """

    key: object
    request: Request
    inputs: Mapping[str, NDArray[Any]]
    rows: int
    request_id: str


def joinable(request: Request, inputs: Mapping[str, ArrayLike], *, request_id: str, max_rows: int) -> Joinable | None:
    """A call as one that may join others; None where it must go alone.

    Raises:
        InvalidArgument: A value is no array.
    """
    arrays = {name: to_array(name, value) for name, value in inputs.items()}
    sizes = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(sizes) != 1 or not 0 < (rows := sizes.pop()) < max_rows:
        return None
    forms = tuple((name, _kind(array), array.shape[1:]) for name, array in arrays.items())
    said = tuple((name, type(value), str(value)) for name, value in request.parameters.items())
    key = (request.model, request.version, request.outputs, said, forms)
    return Joinable(key=key, request=request, inputs=arrays, rows=rows, request_id=request_id)


class _Waits(Protocol):
    """A call of a front: what it asks beside how it is answered."""

    @property
    def asks(self) -> Joinable: ...


M = TypeVar("M", bound=_Waits)


class Group(Generic[M]):
    """Calls of one kind that wait to be joined.

    Attributes:
        waiting: In the order in which they came.
        in_flight: Requests under way.
        alone: Set once the model gave an answer that cannot be cut into rows: its calls join no more.
    """

    __slots__ = ("alone", "in_flight", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[M] = deque()
        self.in_flight = 0
        self.alone = False

    def take(self, max_rows: int) -> list[M]:
        """The calls of the next request, at least one. Requires: some wait."""
        taken = [self.waiting.popleft()]
        rows = taken[0].asks.rows
        while not self.alone and self.waiting and rows + self.waiting[0].asks.rows <= max_rows:
            taken.append(self.waiting.popleft())
            rows += taken[-1].asks.rows
        return taken


def join(calls: Sequence[Joinable]) -> dict[str, NDArray[Any]]:
    """Inputs of the joined request."""
    if len(calls) == 1:
        return dict(calls[0].inputs)
    return {name: np.concatenate([call.inputs[name] for call in calls]) for name in calls[0].inputs}


def cut(result: Result, calls: Iterable[Joinable]) -> list[Result] | None:
    """The result of a joined request -> that of each call, as views; None where an output does not count rows."""
    calls = list(calls)
    rows = sum(call.rows for call in calls)
    if any(not array.ndim or array.shape[0] != rows for array in result.values()):
        return None
    results: list[Result] = []
    start = 0
    for call in calls:
        stop = start + call.rows
        results.append(
            Result(
                model_name=result.model_name,
                model_version=result.model_version,
                request_id=call.request_id,
                outputs=MappingProxyType({name: array[start:stop] for name, array in result.items()}),
                parameters=result.parameters,
                timings=result.timings,
            )
        )
        start = stop
    return results


def _kind(array: NDArray[Any]) -> str:
    """Text of any width joins; numbers of another datatype do not."""
    return "BYTES" if array.dtype.kind in "OSUT" else array.dtype.str
