"""Chooses the settings at which a peer is compared: all are tried, for throughput and for p99. Judges nothing.

The setting with the highest throughput is not the one with the lowest latency: one that waits a millisecond for a batch
is faster in a closed loop of many callers, and slower with few. So each question has its own best setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import grpc

from bench.cases import METHOD, Case
from bench.limits.reference import ReferenceModel, WrongAnswer
from bench.load.result import Generator
from bench.peers.ab_comparison import Competitor, long_enough_s
from bench.peers.catalogue import Peer, Protocol, Setting
from bench.peers.running import PeerFailed, ask, body_of, running
from bench.store import Load
from bench.suite.measuring import measure
from sardonyx_server.load.loops import LoadGeneratorError, Target

__all__ = ["Trial", "TunedPeer", "best_by_p99", "by_throughput"]

# A setting is tried only at rates below this share of its throughput: above, its queue would grow without bound.
_BEARS: Final = 0.9
# Other work on the machine only makes a setting look slower, so the best of its tries is compared. With one try each, a
# setting was passed over whose rate fell by a third for a second.
_RATE_TRIES: Final = 3
_P99_TRIES: Final = 2
_FAILURES: Final = (PeerFailed, LoadGeneratorError, WrongAnswer, OSError, grpc.RpcError)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedPeer:
    """A peer that serves a model.

    Attributes:
        peer: An installed peer.
        case: Model and request.
        reference: The model in-process, for the expected output.
    """

    peer: Peer
    case: Case
    reference: ReferenceModel

    @contextmanager
    def up(self, setting: Setting) -> Iterator[Competitor]:
        """Start the peer at a setting, and compare its output with the model's own.

        Raises:
            PeerFailed: It did not start.
            WrongAnswer: Its output differs from the model's own.
        """
        peer, case = self.peer, self.case
        with running(peer, setting, case) as server:
            answer = ask(peer, case, server.address)
            if peer.protocol is Protocol.OIP:
                self.reference.check(answer)
            else:
                self.reference.check_bytes(answer)
            oip = peer.protocol is Protocol.OIP
            target = Target(
                address=server.address,
                method=METHOD if oip else peer.path,
                messages=(case.request if oip else body_of(case),),
                answer_bytes=len(answer),
            )
            yield Competitor(
                name=peer.name, server=server, target=target, http1=not oip, model=case.name if oip else ""
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The result of one setting.

    Attributes:
        setting: The setting.
        rate_per_s: Throughput in the closed loop; 0 if the setting does not work.
        problem: Why it does not work; "" if it does.
        p99_ms: Load -> p99, for the loads that were tried.
    """

    setting: Setting
    rate_per_s: float = 0.0
    problem: str = ""
    p99_ms: dict[Load, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.setting.name}: {self.problem or f'{self.rate_per_s:,.0f}/s'}"


def by_throughput(tuned_peer: TunedPeer, generator: Generator, seconds: float) -> list[Trial]:
    """Try all settings in a closed loop, each several times, the best one counts; highest throughput first. Blocks.

    Raises:
        PeerFailed: None of them works.
    """
    trials = []
    for setting in tuned_peer.peer.settings:
        try:
            with tuned_peer.up(setting) as competitor:
                rates = [competitor.in_closed_loop(generator, seconds).rate_reached_per_s for _ in range(_RATE_TRIES)]
            trials.append(Trial(setting=setting, rate_per_s=max(rates)))
        except _FAILURES as error:
            trials.append(Trial(setting=setting, problem=f"{type(error).__name__}: {error}"))
    if not any(trial.rate_per_s for trial in trials):
        raise PeerFailed("; ".join(map(str, trials)))
    return sorted(trials, key=lambda trial: -trial.rate_per_s)


def best_by_p99(
    tuned_peer: TunedPeer, trials: Sequence[Trial], loads: Sequence[Load], seconds: float, seed: int
) -> dict[Load, Trial]:
    """The setting with the lowest p99 at each load, each tried twice, the better one counts. Blocks.

    Args:
        tuned_peer: The peer.
        trials: As :func:`by_throughput` found them; the p99 of each is added.
        loads: Open loops.
        seconds: About how long each time.
        seed: Seed of arrivals.
    """
    able = {trial.setting.name: _borne(trial, loads) for trial in trials}
    # If only one setting sustains a load, there is nothing to choose.
    able = {
        name: [load for load in borne if sum(load in others for others in able.values()) > 1]
        for name, borne in able.items()
    }
    for trial in trials:
        if not able[trial.setting.name]:
            continue
        try:
            with tuned_peer.up(trial.setting) as competitor, competitor.load_target() as target:
                for load in able[trial.setting.name]:
                    length_s = long_enough_s(load, seconds)
                    points = [measure(target, load, length_s, seed + turn) for turn in range(_P99_TRIES)]
                    found = [point.p99_ms for point in points if point.valid and point.answered and not point.failed]
                    if found:
                        trial.p99_ms[load] = min(found)
        except _FAILURES:
            continue  # It worked before; it is not compared at a load that it does not sustain.
    return {load: min(trials, key=lambda trial: trial.p99_ms.get(load, float("inf"))) for load in loads}


def _borne(trial: Trial, loads: Sequence[Load]) -> list[Load]:
    return [load for load in loads if (load.rate_per_s or 0.0) <= _BEARS * trial.rate_per_s]
