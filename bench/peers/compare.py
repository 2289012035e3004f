"""One peer on one model beside Sardonyx: its best setting found, then throughput and p99 at equal rates, in turns."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from bench.arms import answer_for
from bench.cases import METHOD, Case, make
from bench.limits.rows import Rows, WrongAnswer
from bench.load.h2load import H2Load
from bench.load.result import LoadFailed, Target
from bench.peers.catalogue import Peer, Protocol, Setting
from bench.peers.duel import CALLERS, Contender, Pair, at_equal_rates, closed_loop, rate_in
from bench.peers.running import PeerFailed, ask, body_of, running
from bench.peers.verdict import Measure, Verdict
from bench.store import Load
from bench.suite.measuring import aimed
from bench.suite.serving import Server, serving

__all__ = ["P99_SHARES", "Plan", "compare", "not_measured"]

P99_SHARES: Final = (0.3, 0.6)
"""Rates of the open loops, as shares of what the slower of both answers in the closed loop."""

_THROUGHPUT: Final = "test_throughput_in_a_closed_loop_beside"
# Beside some servers the generator, which shares their cores, cannot keep the first rate.
_SLOWER: Final = (0.75, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thoroughly to measure.

    Attributes:
        turns: How often each server is measured under each load.
        seconds: About how long each time.
        seed: Of arrivals and of the bootstrap.
    """

    turns: int
    seconds: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A setting and the answers a second it gave; or why it gave none."""

    setting: Setting
    rate: float = 0.0
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.setting.name}: {self.problem or f'{self.rate:,.0f}/s'}"


def compare(peer: Peer, model: str, generator: H2Load, plan: Plan, folder: Path) -> list[Verdict]:
    """Measure it. Starts and ends all servers it needs; Sardonyx sets itself up.

    Args:
        peer: Installed.
        model: Of ``bench/cases.py``.
        generator: Of closed loops, and of the open loops of peers that speak HTTP.
        plan: How thoroughly.
        folder: Empty.

    Raises:
        CaseMissing: The package that ships the model is not installed.
        ChildFailed: Sardonyx did not start.
        LoadFailed: A load failed on either server.
        PeerFailed: The peer did not start at any setting.
        WrongAnswer: Sardonyx answers something else than the model says.
    """
    case = make(model, folder)
    rows = Rows(case)
    with ExitStack() as stack:
        server = stack.enter_context(serving(case.repository))
        answer = answer_for(server.address, case.request)
        rows.check(answer)
        ours = Contender(name="sardonyx", server=server, target=_grpc(server, case, answer), model=model)
        tried = [_try(peer, setting, case, rows, generator, plan) for setting in peer.settings]
        best = max(tried, key=lambda one: one.rate)
        if not best.rate:
            raise PeerFailed("; ".join(map(str, tried)))
        remarks = [
            f"{peer.title} at its best of {len(tried)} settings: {best.setting.name} ({'; '.join(map(str, tried))})",
            _set_up(server, model),
        ]
        their_server = stack.enter_context(running(peer, best.setting, case))
        theirs = _contender(peer, their_server, case, rows)
        rates = (rate_in(ours, generator, plan.seconds), rate_in(theirs, generator, plan.seconds))
        pairs = closed_loop(ours, theirs, generator, rates=rates, turns=plan.turns, seconds=plan.seconds)
        verdicts = [
            Verdict(
                peer=peer.name,
                model=model,
                question=_THROUGHPUT,
                wording=_throughput_wording(peer),
                measure=Measure.THROUGHPUT,
                pairs=pairs,
                bar=_bar(peer, model),
                remarks=remarks,
                seed=plan.seed,
            )
        ]
        duel = _Duel(peer=peer, case=case, ours=ours, theirs=theirs, generator=generator, plan=plan)
        return verdicts + [_p99(duel, share, min(rates), remarks) for share in P99_SHARES]


def not_measured(peer: Peer, model: str, reason: str) -> list[Verdict]:
    """What stands in the table for a peer that could not be installed, started or put under load.

    Args:
        peer: It.
        model: That it should have served.
        reason: For people.
    """
    questions = [(_THROUGHPUT, _throughput_wording(peer), Measure.THROUGHPUT)]
    questions += [(_p99_question(share), _p99_wording(peer, share), Measure.P99) for share in P99_SHARES]
    return [
        Verdict(
            peer=peer.name,
            model=model,
            question=question,
            wording=wording,
            measure=measure,
            pairs=(),
            bar=_bar(peer, model) if measure is Measure.THROUGHPUT else 1.0,
            remarks=[reason],
        )
        for question, wording, measure in questions
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Duel:
    """Both servers, up and warm, and what is used on them."""

    peer: Peer
    case: Case
    ours: Contender
    theirs: Contender
    generator: H2Load
    plan: Plan

    def at(self, load: Load) -> list[Pair]:
        """Both at a rate: the same arrivals, each in its protocol."""
        plan = self.plan
        with ExitStack() as stack:
            one, other = (
                stack.enter_context(
                    aimed(
                        who.server,
                        [who.target.request],
                        model=who.model,
                        way=who.way,
                        answer_bytes=who.target.answer_bytes,
                    )
                )
                for who in (self.ours, self.theirs)
            )
            return at_equal_rates(one, other, load, turns=plan.turns, seconds=plan.seconds, seed=plan.seed)


def _p99(duel: _Duel, asked: float, slower_rate: float, remarks: list[str]) -> Verdict:
    """At the share of that rate, or at a smaller one where the generator cannot keep it beside both servers."""

    def at(share: float) -> Verdict:
        return Verdict(
            peer=duel.peer.name,
            model=duel.case.name,
            question=_p99_question(asked),
            wording=f"{_p99_wording(duel.peer, share)}: {share * slower_rate:,.0f}/s",
            measure=Measure.P99,
            pairs=duel.at(Load(arrivals="poisson", rate_per_s=share * slower_rate, share_of_capacity=share)),
            remarks=remarks,
            seed=duel.plan.seed,
        )

    verdict = at(asked)
    for slower in _SLOWER:
        if verdict.is_measured:
            break
        verdict = at(asked * slower)
    return verdict


def _try(peer: Peer, setting: Setting, case: Case, rows: Rows, generator: H2Load, plan: Plan) -> _Tried:
    """A setting that does not work loses against those that do."""
    try:
        with running(peer, setting, case) as server:
            return _Tried(setting=setting, rate=rate_in(_contender(peer, server, case, rows), generator, plan.seconds))
    except (PeerFailed, LoadFailed, WrongAnswer, OSError, grpc.RpcError) as error:
        return _Tried(setting=setting, problem=f"{type(error).__name__}: {error}")


def _contender(peer: Peer, server: Server, case: Case, rows: Rows) -> Contender:
    """A peer, once its answer has been compared with the model's own."""
    answer = ask(peer, case, server.address)
    if peer.protocol is Protocol.OIP:
        rows.check(answer)
        return Contender(name=peer.name, server=server, target=_grpc(server, case, answer), model=case.name)
    rows.check_bytes(answer)
    target = Target(
        address=server.address, method=peer.path, request=body_of(case), answer_bytes=len(answer), http1=True
    )
    return Contender(name=peer.name, server=server, target=target)


def _grpc(server: Server, case: Case, answer: bytes) -> Target:
    return Target(address=server.address, method=METHOD, request=case.request, answer_bytes=len(answer))


def _set_up(server: Server, model: str) -> str:
    facts = server.facts[model]
    split = f"{facts['runners']} runners x {facts['threads']} threads" if facts["runners"] else "inline"
    return f"Sardonyx as it sets itself up: {split}, batches of at most {max(1, facts['max_rows'])} rows"


def _bar(peer: Peer, model: str) -> float:
    """Of throughput."""
    return peer.least.get(model, 1.0)


def _throughput_wording(peer: Peer) -> str:
    other = "" if peer.protocol is Protocol.OIP else f" (it over {peer.protocol})"
    return f"answers a second, {CALLERS} callers{other}"


def _p99_wording(peer: Peer, share: float) -> str:
    other = "" if peer.protocol is Protocol.OIP else f" (it over {peer.protocol})"
    return f"p99 at {share:.2g} of the slower one's rate{other}"


def _p99_question(share: float) -> str:
    return f"test_p99_at_{share:.0%}_of_the_slower_rate_beside".replace("%", "_percent")
