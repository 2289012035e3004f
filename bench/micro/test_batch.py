"""How long it takes to make one array of the requests of a batch, and to cut its outputs into their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.micro.measuring import Measure
from bench.micro.workload import Caller, Workload
from sardonyx_server.engine.requests.outputs import BatchOutputs
from sardonyx_server.engine.running.execution import gather
from sardonyx_server.engine.telemetry.counters import Counters
from sardonyx_server.engine.telemetry.failures import Failures
from sardonyx_wire.messages import ModelInferResponse

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES = [1, 16]


@pytest.mark.parametrize("requests", SIZES)
def test_time_to_gather(requests: int, one: Workload, measured: Measure[NDArray[Any]]) -> None:
    """How long does it take to make one array of the rows of so many requests?"""
    jobs = one.jobs(requests)
    (feed,) = jobs[0].plan.bucket.feeds
    tensors = [job.tensors[0] for job in jobs]
    array = measured(lambda: gather(feed, tensors, requests, has_batch_axis=True))
    (row,) = one.row.values()
    np.testing.assert_array_equal(array, np.repeat(row, requests, axis=0))


@pytest.mark.parametrize("requests", SIZES)
def test_time_to_scatter(requests: int, one: Workload, measured: Measure[None]) -> None:
    """How long does it take to cut the outputs of a run into the answers of so many requests, and to count them?"""
    jobs = one.jobs(requests)
    arrays = one.outputs(requests)
    counters = Counters(Failures())

    def scatter() -> None:
        outputs = BatchOutputs(arrays, has_batch_axis=True, began_s=0.0, ran_s=0.0)
        for index, job in enumerate(jobs):
            job.finish(outputs, index, counters)

    measured(scatter)
    for index, job in enumerate(jobs):
        assert isinstance(job.call, Caller)
        response = ModelInferResponse.FromString(bytes(job.call.answer))
        for data, array in zip(response.raw_output_contents, arrays, strict=True):
            assert data == array[index].tobytes()
