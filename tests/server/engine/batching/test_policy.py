"""What a ModelConfig says about batching and queueing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf import text_format

from sardonyx_server.engine.batching.policy import BatchPolicy, QueuePolicy
from sardonyx_server.errors import LoadFailed
from sardonyx_wire.messages import ModelConfig


def policy(text: str) -> BatchPolicy:
    """Of an effective config."""
    config: Any = text_format.Parse(text, ModelConfig(name="m"))
    return BatchPolicy.of(config, queue_rows=100, queue_bytes=1000)


def test_a_model_without_a_batch_axis_runs_one_request_at_a_time() -> None:
    """max_batch_size 0."""
    found = policy("")
    assert (found.has_batch_axis, found.max_rows, found.dynamic_batching) == (False, 1, False)


def test_a_model_with_rows_but_without_dynamic_batching_does_not_join() -> None:
    """As Triton does it: then only the caller makes batches."""
    found = policy("max_batch_size: 8")
    assert (found.has_batch_axis, found.max_rows, found.dynamic_batching) == (True, 8, False)


def test_a_batch_of_one_joins_nothing() -> None:
    """There is no room."""
    assert not policy("max_batch_size: 1 dynamic_batching {}").dynamic_batching


def test_silence_is_greedy() -> None:
    """No delay, no preference, one level without limits."""
    assert policy("max_batch_size: 8 dynamic_batching {}") == BatchPolicy(
        has_batch_axis=True,
        max_rows=8,
        microbatch_rows=8,
        dynamic_batching=True,
        levels={1: QueuePolicy()},
        queue_rows=100,
        queue_bytes=1000,
    )


def test_delay_preference_and_order_are_taken_over() -> None:
    """Microseconds become seconds; sizes are sorted."""
    found = policy(
        "max_batch_size: 8 dynamic_batching { preferred_batch_size: [8, 4, 4] max_queue_delay_microseconds: 1500 "
        "preserve_ordering: true }"
    )
    assert (found.preferred_rows, found.max_delay_s, found.preserve_ordering) == ((4, 8), 0.0015, True)


def test_a_delay_is_a_day_at_most() -> None:
    """The runner that was to wait for 600,000 years ended, and the server with it."""
    assert policy(f"dynamic_batching {{ max_queue_delay_microseconds: {2**64 - 1} }}").max_delay_s == 24 * 3600


def test_levels_have_the_default_policy_where_they_have_none_of_their_own() -> None:
    """priority_levels counts them; default_priority_level is whose requests say nothing."""
    found = policy(
        "max_batch_size: 8 dynamic_batching { priority_levels: 3 default_priority_level: 2 "
        "default_queue_policy { max_queue_size: 7 } "
        "priority_queue_policy { key: 2 value { timeout_action: DELAY default_timeout_microseconds: 250000 "
        "allow_timeout_override: true } } }"
    )
    assert found.default_level == 2
    assert found.levels == {
        1: QueuePolicy(max_requests=7),
        2: QueuePolicy(timeout_s=0.25, delay_on_timeout=True, allow_timeout_override=True),
        3: QueuePolicy(max_requests=7),
    }


def test_without_priorities_there_is_one_level_whatever_the_default_says() -> None:
    """A default for levels that there are not has no effect."""
    found = policy("max_batch_size: 8 dynamic_batching { default_priority_level: 3 }")
    assert (set(found.levels), found.default_level) == ({1}, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "max_batch_size: 8 dynamic_batching { preferred_batch_size: [4, 16] }",
            (
                "dynamic_batching.preferred_batch_size of model 'm': expected sizes from 1 to max_batch_size 8, got "
                "[4, 16]"
            ),
        ),
        (
            "max_batch_size: 8 dynamic_batching { preferred_batch_size: [0] }",
            "dynamic_batching.preferred_batch_size of model 'm': expected sizes from 1 to max_batch_size 8, got [0]",
        ),
        (
            "max_batch_size: 8 dynamic_batching { priority_levels: 2 }",
            "dynamic_batching.default_priority_level of model 'm': expected 1 to priority_levels 2, got 0",
        ),
        (
            "max_batch_size: 8 dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
            "dynamic_batching.default_priority_level of model 'm': expected 1 to priority_levels 2, got 3",
        ),
    ],
)
def test_a_contradiction_is_a_load_error(text: str, expected: str) -> None:
    """It says what was expected and what there is."""
    with pytest.raises(LoadFailed) as failure:
        policy(text)
    assert failure.value.message == expected


@pytest.mark.parametrize(
    ("level", "asked_s", "wait_s"),
    [
        (QueuePolicy(), math.inf, math.inf),
        (QueuePolicy(), 1.0, math.inf),
        (QueuePolicy(timeout_s=2.0), 1.0, 2.0),
        (QueuePolicy(allow_timeout_override=True), 1.0, 1.0),
        (QueuePolicy(timeout_s=2.0, allow_timeout_override=True), 1.0, 1.0),
        (QueuePolicy(timeout_s=2.0, allow_timeout_override=True), 3.0, 2.0),
        (QueuePolicy(timeout_s=2.0, allow_timeout_override=True), math.inf, 2.0),
    ],
)
def test_a_request_may_shorten_its_wait_where_it_is_allowed_to(
    level: QueuePolicy, asked_s: float, wait_s: float
) -> None:
    """And never lengthen it."""
    assert level.wait_s(asked_s) == wait_s
