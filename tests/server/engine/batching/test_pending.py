"""Pending jobs, counted as it comes and goes."""

from __future__ import annotations

import math

from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.pending import PendingJobs
from sardonyx_server.engine.batching.policy import QueuePolicy
from tests.server.engine.doubles import QueuedRequests, policy

MAKE = QueuedRequests()


def test_all_parts_of_a_request_are_one_request() -> None:
    """Its rows are those of all parts; its bytes come with the last."""
    pending = PendingJobs(policy(), ByteBudget(1000))
    parts = [MAKE.job(3, size=0, requests=0), MAKE.job(2, size=40)]
    pending.append(pending.level_of(parts[0].plan), parts, 7.0, math.inf)
    assert (pending.rows, pending.message_bytes, pending.requests) == (5, 40, 1)
    assert [(job.arrived_s, job.expires_s) for job in parts] == [(7.0, math.inf)] * 2


def test_what_is_removed_gives_its_bytes_back() -> None:
    """To the budget that all queues share."""
    budget = ByteBudget(1000)
    pending = PendingJobs(policy(), budget)
    job = MAKE.job(3, size=40)
    assert budget.try_reserve(40)
    pending.append(pending.level_of(job.plan), (job,), 7.0, math.inf)
    pending.removed(3, 40)
    assert (pending.rows, pending.message_bytes, budget.used_bytes) == (0, 0, 0)


def test_a_queue_that_is_cleared_holds_nothing() -> None:
    """On no level and in no bucket, nor of what is delayed."""
    budget = ByteBudget(1000)
    pending = PendingJobs(policy(levels={1: QueuePolicy(), 2: QueuePolicy()}, default_level=2), budget)
    jobs = [MAKE.job(priority=1, bucket=0), MAKE.job(priority=2, bucket=0), MAKE.job(priority=2, bucket=1)]
    for job in jobs:
        assert budget.try_reserve(job.message_bytes)
        pending.append(pending.level_of(job.plan), (job,), 7.0, math.inf)
    low = pending.levels[2]
    low.delayed.append(low.buckets.pop(jobs[2].plan.bucket).popleft())
    assert pending.clear() == jobs
    assert (pending.rows, pending.message_bytes, pending.requests, budget.used_bytes) == (0, 0, 0, 0)
    assert not any(level.buckets or level.delayed for level in pending.levels.values())
