"""Which setting of a peer is compared: one disturbed try must not decide it."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from bench.peers import tuning
from bench.peers.catalogue import Setting
from bench.peers.tuning import Trial, TunedPeer, best_by_p99, by_throughput
from bench.store import Load, Point

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

LOAD = Load(rate_per_s=50.0, share_of_capacity=0.3)


class _Peer:
    """A peer that starts no server: the results of each setting are given, one for each time it is measured."""

    def __init__(self, results: dict[str, list[Point]]) -> None:
        self.peer = SimpleNamespace(settings=[Setting(name=name, values={}) for name in results])
        self._results = results

    @contextmanager
    def up(self, setting: Setting) -> Iterator[Any]:
        results = iter(self._results[setting.name])

        @contextmanager
        def load_target() -> Iterator[Any]:
            yield results

        yield SimpleNamespace(in_closed_loop=lambda *_: next(results), load_target=load_target)


def _peer(results: dict[str, list[Point]]) -> TunedPeer:
    return cast("TunedPeer", _Peer(results))


def _rates(*rates: float) -> list[Point]:
    return [Point(load=Load(kind="closed"), rate_reached_per_s=rate) for rate in rates]


def _p99s(*values: float, valid: bool = True) -> list[Point]:
    return [Point(load=LOAD, p99_ms=value, answered=100, valid=valid) for value in values]


def test_a_disturbed_try_does_not_decide_the_throughput() -> None:
    """The best try of each setting is compared."""
    peer = _peer({"steady": _rates(180.0, 185.0, 188.0), "disturbed": _rates(100.0, 210.0, 205.0)})
    trials = by_throughput(peer, cast("Any", None), seconds=1.0)
    assert [(one.setting.name, one.rate_per_s) for one in trials] == [("disturbed", 210.0), ("steady", 188.0)]


def test_a_disturbed_try_does_not_decide_the_p99(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise; the tries have arrivals of their own, and one whose generator was late does not count."""
    peer = _peer(
        {
            "steady": _p99s(30.0, 31.0),
            "disturbed": _p99s(80.0, 20.0),
            "late": _p99s(1.0, 1.0, valid=False),
        }
    )
    trials = [Trial(setting=setting, rate_per_s=200.0) for setting in cast("Any", peer).peer.settings]
    seeds = []

    def measured(target: Any, load: Load, seconds: float, seed: int) -> Point:
        assert load is LOAD
        assert seconds > 0
        seeds.append(seed)
        return cast("Point", next(target))

    monkeypatch.setattr(tuning, "measure", measured)
    chosen = best_by_p99(peer, trials, [LOAD], seconds=1.0, seed=7)
    assert chosen[LOAD].setting.name == "disturbed"
    assert chosen[LOAD].p99_ms == {LOAD: 20.0}
    assert trials[2].p99_ms == {}
    assert seeds == [7, 8] * 3
