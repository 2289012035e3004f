"""Counting the memory of a call, on calls whose memory is known."""

from __future__ import annotations

from itertools import count

import pytest

from bench.micro.allocations import held_blocks, peak_bytes


def test_blocks_that_a_result_holds_on_to_are_counted() -> None:
    """A bytes object is one block; what a call gives back before it ends is none."""
    numbers = count(1000)  # shorter ones are kept by Python
    assert held_blocks(lambda: b"%d" % next(numbers)) == pytest.approx(1, abs=0.1)
    assert held_blocks(lambda: len(b"%d" % next(numbers))) == pytest.approx(0, abs=0.1)


def test_the_peak_sees_what_is_given_back_within_the_call() -> None:
    """A megabyte that lives for a moment."""
    assert peak_bytes(lambda: len(bytearray(10**6))) == pytest.approx(10**6, rel=0.01)
    assert peak_bytes(lambda: None) < 1000
