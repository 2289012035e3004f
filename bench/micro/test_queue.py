"""How long requests take into a model's queue and out of it as a batch, with nobody else at it."""

from __future__ import annotations

import pytest

from bench.micro.measuring import Measure
from bench.micro.workload import Workload
from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.queue import BatchQueue
from sardonyx_server.engine.telemetry.failures import Failures


@pytest.mark.parametrize("requests", [1, 16])
def test_time_to_queue_and_take(requests: int, iris: Workload, measured: Measure[Batch | None]) -> None:
    """How long does it take to put so many requests into the queue, one by one, and take them as one batch?"""
    queue = BatchQueue("iris", iris.policy(max_rows=16), ByteBudget(2**30), failures=Failures(), seconds_per_row=0.0)
    jobs = iris.jobs(requests)

    def put_and_take() -> Batch | None:
        for job in jobs:
            queue.put((job,))
        return queue.take(wait=False)

    batch = measured(put_and_take)
    assert batch is not None
    assert batch.jobs == jobs
    assert queue.rows == queue.message_bytes == 0
