"""Merges small calls into one request, and splits its response. No I/O and no threads; the coalescers decide when.

Calls can be merged if they differ only in their rows: same model, version, outputs, parameters, names and datatypes of
inputs, and all dimensions after the first. There is no batching delay: calls that arrive while a request is in flight
form the next request.
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

__all__ = ["MEMBER_ERRORS", "BatchKey", "BatchKeys", "CoalescableRequest", "Group", "count_fitting", "merge", "split"]

MEMBER_ERRORS = (BadResponse, InvalidArgument, ResourceExhausted, ServerFault)
"""Errors of a merged request that a single member may have caused: its members are then sent one by one."""

# As in _inference.py: bounds the memory if shapes never repeat.
_MAX_CACHED_KEYS: Final = 512


@dataclass(slots=True, eq=False)
class BatchKey:
    """What calls that can be merged have in common. One object for each key, compared by identity.

    Attributes:
        request: Their request, without inputs and id.
        alone: Set when an output of the model did not have one row for each row of input: such calls are not merged
            again.
    """

    request: Request
    unsplittable: bool = False


@dataclass(slots=True, eq=False)
class CoalescableRequest:
    """A call that can be merged with others. Not frozen, because that costs a microsecond; nothing modifies it.

    Attributes:
        form: Calls with the same key can be merged.
        inputs: Name -> array [rows, ...].
        rows: At least 1.
        request_id: The caller's; set in its own result.
    """

    batch_key: BatchKey
    inputs: Mapping[str, NDArray[Any]]
    rows: int
    request_id: str


class BatchKeys:
    """Decides which calls can be merged; caches the decision by names, datatypes and shapes. Thread-safe.

    Args:
        max_rows: Most rows of a merged request.
    """

    __slots__ = ("_batch_keys", "_max_rows", "_seen")

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        # Everything of a call but its data -> (key, rows); None = it is sent unmerged.
        self._seen: dict[tuple[object, ...], tuple[BatchKey, int] | None] = {}
        # The same without the rows -> key.
        self._batch_keys: dict[tuple[object, ...], BatchKey] = {}

    def coalescable(self, request: Request) -> CoalescableRequest | None:
        """A call in mergeable form; None = it must be sent unmerged.

        Raises:
            InvalidArgument: A value cannot be converted to an array.
        """
        model, inputs, version, outputs, request_id, parameters = request
        arrays: dict[str, NDArray[Any]] = {}
        # True, 1 and 1.0 are equal as dict keys, but differ on the wire.
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
        if found is None or found[0].unsplittable:
            return None
        return CoalescableRequest(found[0], arrays, found[1], request_id)

    def _learn(
        self, key: tuple[object, ...], arrays: Mapping[str, NDArray[Any]], request: Request
    ) -> tuple[BatchKey, int] | None:
        """Key and rows of a call that is not in the cache."""
        if len(self._batch_keys) >= _MAX_CACHED_KEYS:
            self._batch_keys.clear()
            self._seen.clear()
        elif len(self._seen) >= _MAX_CACHED_KEYS:
            # The keys stay, so that calls that differ in rows, or in the width of text, can still be merged.
            self._seen.clear()
        found = None
        sizes = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
        if len(sizes) == 1 and 0 < (rows := sizes.pop()) < self._max_rows:
            parts = tuple((name, _kind(array), array.shape[1:]) for name, array in arrays.items())
            # A copy, because the caller may modify its own.
            parameters = MappingProxyType({**request.parameters})
            batch_key = BatchKey(request._replace(inputs={}, request_id="", parameters=parameters))
            found = self._batch_keys.setdefault((*key[:4], parts), batch_key), rows
        self._seen[key] = found
        return found


class _Waits(Protocol):
    """A waiting call of a coalescer."""

    @property
    def request(self) -> CoalescableRequest: ...


M = TypeVar("M", bound=_Waits)


class Group(Generic[M]):
    """Calls with one key that wait to be merged, on an event loop; threads use leader_queue.py.

    Attributes:
        waiting: In order of arrival.
        in_flight: Number of requests in flight.
    """

    __slots__ = ("in_flight", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[M] = deque()
        self.in_flight = 0

    def take(self, max_rows: int) -> list[M]:
        """Remove and return the calls of the next request, at least one. Requires: :attr:`waiting` is not empty."""
        return [self.waiting.popleft() for _ in range(count_fitting(self.waiting, max_rows))]


def count_fitting(waiting: Iterable[_Waits], max_rows: int) -> int:
    """How many waiting calls fit in the next request; at least one. Requires: there are some, all with one key."""
    count = rows = 0
    for call in waiting:
        rows += call.request.rows
        if count and (rows > max_rows or call.request.batch_key.unsplittable):
            break
        count += 1
    return count


def merge(calls: Sequence[CoalescableRequest]) -> Request:
    """The merged request."""
    first = calls[0]
    inputs: Mapping[str, ArrayLike] = first.inputs
    if len(calls) > 1:
        inputs = {name: _concatenated([call.inputs[name] for call in calls]) for name in inputs}
    return first.batch_key.request._replace(inputs=inputs)


def _concatenated(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    # numpy would convert bytes beside str to str, as if they were ASCII.
    if len({part.dtype.kind for part in parts}) > 1:
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)


def split(result: Result, calls: Sequence[CoalescableRequest]) -> list[Result] | None:
    """Result of a merged request -> results of its calls, as views; None if an output does not have a row for each."""
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
    """Datatype for the key: text of any width is one datatype."""
    return "BYTES" if array.dtype.kind in "OSUT" else array.dtype.str
