"""Small calls joined into one request and its answer cut apart again. No I/O and no threads: the fronts decide when.

Calls join where everything but the rows is the same: model, version, outputs, parameters, names and datatypes of the
inputs, and all dimensions behind the first. Nothing waits for company: while one request is under way, the calls that
come meanwhile make the next.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import numpy as np

from sardonyx_client._errors import BadResponse, InvalidArgument, ResourceExhausted, ServerFault
from sardonyx_client._inference import to_array
from sardonyx_client._values import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from sardonyx_client._request import Request

__all__ = ["BLAMED_ON_ONE", "Form", "Forms", "Group", "Joinable", "cut", "how_many_fit", "join"]

BLAMED_ON_ONE = (BadResponse, InvalidArgument, ResourceExhausted, ServerFault)
"""Failures of a joined request that one member may have caused: its members are sent singly."""

# As in _inference.py: one whose shapes never repeat must not fill the program's memory.
_FORMS: Final = 512


@dataclass(slots=True, eq=False)
class Form:
    """What calls that may join have in common. An object for each kind: two are equal where they are one.

    Attributes:
        request: What they ask, but for inputs and id.
        alone: Set once the model gave an answer that cannot be cut into rows: its calls join no more.
    """

    request: Request
    alone: bool = False


@dataclass(slots=True, eq=False)
class Joinable:
    """One call that may join others. Not frozen, for that costs a microsecond; nobody changes it.

    Attributes:
        form: Calls of the same may join.
        inputs: Name -> array [rows, ...].
        rows: At least 1.
        request_id: Of the caller; comes back in its own result only.
    """

    form: Form
    inputs: Mapping[str, NDArray[Any]]
    rows: int
    request_id: str


class Forms:
    """Which calls may join. What follows from names, datatypes and shapes is concluded once. Thread-safe.

    Args:
        max_rows: Of a joined request.
    """

    __slots__ = ("_forms", "_max_rows", "_seen")

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        # All that a call says but its data -> form and rows; None where it must go alone.
        self._seen: dict[tuple[object, ...], tuple[Form, int] | None] = {}
        # The same without its rows -> form.
        self._forms: dict[tuple[object, ...], Form] = {}

    def joinable(self, request: Request) -> Joinable | None:
        """A call as one that may join others; None where it must go alone.

        Raises:
            InvalidArgument: A value is no array.
        """
        model, inputs, version, outputs, request_id, parameters = request
        arrays: dict[str, NDArray[Any]] = {}
        # True, 1 and 1.0 are equal as keys, and differ on the wire.
        said = tuple((name, type(value), str(value)) for name, value in parameters.items()) if parameters else ()
        key: tuple[object, ...] = (model, version, outputs, said)
        for name, value in inputs.items():
            array = value if type(value) is np.ndarray else to_array(name, value)
            arrays[name] = array
            key += (name, array.dtype, array.shape)
        try:
            found = self._seen[key]
        except KeyError:
            found = self._learn(key, arrays, request)
        if found is None or found[0].alone:
            return None
        return Joinable(found[0], arrays, found[1], request_id)

    def _learn(
        self, key: tuple[object, ...], arrays: Mapping[str, NDArray[Any]], request: Request
    ) -> tuple[Form, int] | None:
        """Form and rows of a call that says what none has said before."""
        if len(self._forms) >= _FORMS:
            self._forms.clear()
            self._seen.clear()
        elif len(self._seen) >= _FORMS:
            # Calls that differ in rows, or in the width of text, go on joining.
            self._seen.clear()
        found = None
        sizes = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
        if len(sizes) == 1 and 0 < (rows := sizes.pop()) < self._max_rows:
            parts = tuple((name, _kind(array), array.shape[1:]) for name, array in arrays.items())
            # A copy: the caller may change its own later.
            parameters = MappingProxyType({**request.parameters})
            form = Form(request._replace(inputs={}, request_id="", parameters=parameters))
            found = self._forms.setdefault((*key[:4], parts), form), rows
        self._seen[key] = found
        return found


class _Waits(Protocol):
    """A call of a front: what it asks beside how it is answered."""

    @property
    def asks(self) -> Joinable: ...


M = TypeVar("M", bound=_Waits)


class Group(Generic[M]):
    """Calls of one kind that wait to be joined, on an event loop. Of threads it is turns.py.

    Attributes:
        waiting: In the order in which they came.
        in_flight: Requests under way.
    """

    __slots__ = ("in_flight", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[M] = deque()
        self.in_flight = 0

    def take(self, max_rows: int) -> list[M]:
        """The calls of the next request, at least one. Requires: some wait."""
        return [self.waiting.popleft() for _ in range(how_many_fit(self.waiting, max_rows))]


def how_many_fit(waiting: Iterable[_Waits], max_rows: int) -> int:
    """Calls of those that wait that make the next request: at least one. Requires: some wait, all of one form."""
    count = rows = 0
    for call in waiting:
        rows += call.asks.rows
        if count and (rows > max_rows or call.asks.form.alone):
            break
        count += 1
    return count


def join(calls: Sequence[Joinable]) -> Request:
    """The joined request."""
    first = calls[0]
    inputs: Mapping[str, ArrayLike] = first.inputs
    if len(calls) > 1:
        inputs = {name: _concatenated([call.inputs[name] for call in calls]) for name in inputs}
    return first.form.request._replace(inputs=inputs)


def _concatenated(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    # Of text beside bytes NumPy makes text, as if the bytes were ASCII.
    if len({part.dtype.kind for part in parts}) > 1:
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)


def cut(result: Result, calls: Sequence[Joinable]) -> list[Result] | None:
    """The result of a joined request -> that of each call, as views; None where an output does not count rows."""
    arrays = list(result.items())
    rows = sum(call.rows for call in calls)
    if any(not array.ndim or array.shape[0] != rows for _, array in arrays):
        return None
    name, version, parameters, timings = result.model_name, result.model_version, result.parameters, result.timings
    results: list[Result] = []
    start = 0
    for call in calls:
        stop = start + call.rows
        results.append(
            Result(
                model_name=name,
                model_version=version,
                request_id=call.request_id,
                outputs=MappingProxyType({output: array[start:stop] for output, array in arrays}),
                parameters=parameters,
                timings=timings,
            )
        )
        start = stop
    return results


def _kind(array: NDArray[Any]) -> str:
    """Text of any width joins; numbers of another datatype do not."""
    return "BYTES" if array.dtype.kind in "OSUT" else array.dtype.str
