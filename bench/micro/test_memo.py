"""What the memo of headers costs when it is full, and when it never has what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pytest

from bench.micro.measuring import Measure
from bench.micro.workload import Workload
from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.request_reader import Decoded, RequestReader

MEMO_ENTRIES = 1024


@pytest.mark.parametrize("headers", [1, MEMO_ENTRIES])
def test_time_to_find_one_header_among(headers: int, iris: Workload, measured: Measure[Decoded]) -> None:
    """How long does it take to read a request when so many headers are known, each asked for in turn?"""
    reader = RequestReader()
    messages = _of_versions(iris, headers)
    for _ in range(headers):
        reader.decode(next(messages))
    # The same header again is the same object: it came from the memo.
    first, again = (reader.decode(message)[0] for message in [next(_of_versions(iris, 1))] * 2)
    assert first is again
    assert measured(lambda: reader.decode(next(messages)))[0].route[0] == "iris"


def test_time_to_read_when_headers_never_repeat_in_time(iris: Workload, measured: Measure[Decoded]) -> None:
    """How long does it take to read a request when callers send twice as many headers in turn as are remembered?"""
    reader = RequestReader()
    messages = _of_versions(iris, 2 * MEMO_ENTRIES)
    assert measured(lambda: reader.decode(next(messages)))[0].route[0] == "iris"


def _of_versions(iris: Workload, count: int) -> Iterator[bytes]:
    """The request with so many different headers, for ever in turn: each asks for another version."""
    messages = []
    for version in range(count):
        request = ModelInferRequest.FromString(iris.message)
        request.model_version = str(version)
        messages.append(request.SerializeToString())
    return cycle(messages)
