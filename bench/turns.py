"""Interleaving: the arms of a comparison are measured in alternating order, A B, B A, A B, ... Measures nothing itself.

So drift of the machine favours no arm, and each turn gives one ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

__all__ = ["in_turns"]

Found = TypeVar("Found")


def in_turns(arms: Mapping[str, Callable[[int], Found]], turns: int) -> Iterator[dict[str, Found]]:
    """Measure the arms in turns. What the caller does between two turns happens after the first.

    Args:
        arms: Name -> function that measures it once, given the number of the turn from 0.
        turns: How often each is measured.

    Yields:
        For each turn: name -> result, in the order of the arms.
    """
    for turn in range(turns):
        found = {name: arms[name](turn) for name in (list(arms) if turn % 2 == 0 else reversed(list(arms)))}
        yield {name: found[name] for name in arms}
