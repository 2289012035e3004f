"""A peer on a model, and which of its settings is compared: all are tried, for throughput and for p99. Judges nothing.

A setting that answers the most is not the one that answers soonest: one that waits a millisecond for a batch is faster
under a closed loop of many callers, and slower where there are few. So each question has its own best setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import grpc

from bench.cases import METHOD, Case
from bench.limits.rows import Rows, WrongAnswer
from bench.load.result import Generator
from bench.peers.catalogue import Peer, Protocol, Setting
from bench.peers.duel import Contender, long_enough_s
from bench.peers.running import PeerFailed, ask, body_of, running
from bench.store import Load
from bench.suite.measuring import measure
from sardonyx_server.load.loops import LoadGeneratorError, Target

__all__ = ["Challenger", "Trial", "fastest", "promptest"]

# A setting whose queue would grow without end at a rate need not be tried at it.
_BEARS: Final = 0.9
_FAILURES: Final = (PeerFailed, LoadGeneratorError, WrongAnswer, OSError, grpc.RpcError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenger:
    """A peer and what it serves.

    Attributes:
        peer: Installed.
        case: Model and request.
        rows: The model itself, which knows the answer.
    """

    peer: Peer
    case: Case
    rows: Rows

    @contextmanager
    def up(self, setting: Setting) -> Iterator[Contender]:
        """It at a setting, once its answer has been compared with the model's own.

        Raises:
            PeerFailed: It did not start.
            WrongAnswer: It answers something else than the model says.
        """
        peer, case = self.peer, self.case
        with running(peer, setting, case) as server:
            answer = ask(peer, case, server.address)
            if peer.protocol is Protocol.OIP:
                self.rows.check(answer)
            else:
                self.rows.check_bytes(answer)
            oip = peer.protocol is Protocol.OIP
            target = Target(
                address=server.address,
                method=METHOD if oip else peer.path,
                messages=(case.request if oip else body_of(case),),
                answer_bytes=len(answer),
            )
            yield Contender(name=peer.name, server=server, target=target, http1=not oip, model=case.name if oip else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a setting gave.

    Attributes:
        setting: It.
        rate_per_s: Answers a second in the closed loop; 0 where it does not work.
        problem: Why it does not; "" where it does.
        p99_ms: Load -> p99; of loads that it was tried at.
    """

    setting: Setting
    rate_per_s: float = 0.0
    problem: str = ""
    p99_ms: dict[Load, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.setting.name}: {self.problem or f'{self.rate_per_s:,.0f}/s'}"


def fastest(challenger: Challenger, generator: Generator, seconds: float) -> list[Trial]:
    """All settings in a closed loop, the one that answers the most first. Blocks.

    Raises:
        PeerFailed: None of them works.
    """
    trials = []
    for setting in challenger.peer.settings:
        try:
            with challenger.up(setting) as contender:
                found = contender.in_closed_loop(generator, seconds)
            trials.append(Trial(setting=setting, rate_per_s=found.rate_reached_per_s))
        except _FAILURES as error:
            trials.append(Trial(setting=setting, problem=f"{type(error).__name__}: {error}"))
    if not any(trial.rate_per_s for trial in trials):
        raise PeerFailed("; ".join(map(str, trials)))
    return sorted(trials, key=lambda trial: -trial.rate_per_s)


def promptest(
    challenger: Challenger, trials: Sequence[Trial], loads: Sequence[Load], seconds: float, seed: int
) -> dict[Load, Trial]:
    """For each load the setting with the lowest p99. Blocks.

    Args:
        challenger: It.
        trials: As :func:`fastest` found them; the p99 of each is added.
        loads: Open loops.
        seconds: About how long each time.
        seed: Of arrivals.
    """
    able = {trial.setting.name: _borne(trial, loads) for trial in trials}
    # With one setting that bears a load there is nothing to choose.
    able = {
        name: [load for load in borne if sum(load in others for others in able.values()) > 1]
        for name, borne in able.items()
    }
    for trial in trials:
        if not able[trial.setting.name]:
            continue
        try:
            with challenger.up(trial.setting) as contender, contender.aimed() as target:
                for load in able[trial.setting.name]:
                    point = measure(target, load, long_enough_s(load, seconds), seed)
                    if point.valid and point.answered and not point.failed:
                        trial.p99_ms[load] = point.p99_ms
        except _FAILURES:
            continue  # It worked before, and is not compared in what it does not bear.
    return {load: min(trials, key=lambda trial: trial.p99_ms.get(load, float("inf"))) for load in loads}


def _borne(trial: Trial, loads: Sequence[Load]) -> list[Load]:
    return [load for load in loads if (load.rate_per_s or 0.0) <= _BEARS * trial.rate_per_s]
