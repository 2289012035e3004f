"""Turns: what is compared is measured in alternating order, A B, B A, A B, ... Measures nothing itself.

A machine that drifts favours nobody then, and each turn gives one ratio of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

__all__ = ["in_turns"]

Found = TypeVar("Found")


def in_turns(arms: Mapping[str, Callable[[int], Found]], turns: int) -> Iterator[dict[str, Found]]:
    """Measure. What the caller does between two turns belongs to the first.

    Args:
        arms: Name -> measures it once; is given the number of the turn, from 0.
        turns: How often each is measured.

    Yields:
        For each turn: name -> what was found, in the order of the arms.
    """
    for turn in range(turns):
        found = {name: arms[name](turn) for name in (list(arms) if turn % 2 == 0 else reversed(list(arms)))}
        yield {name: found[name] for name in arms}
