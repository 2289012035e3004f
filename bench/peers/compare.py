"""One peer on one model beside Sardonyx: its best settings found, then throughput and p99 at equal rates, in turns."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.arms import answer_for
from bench.cases import METHOD, make
from bench.limits.rows import Rows
from bench.load.h2load import H2Load
from bench.peers.catalogue import Peer, Protocol
from bench.peers.challenger import Challenger, Trial, fastest, promptest
from bench.peers.duel import CALLERS, Contender, at_equal_rates, closed_loop
from bench.peers.verdict import Measure, Verdict
from bench.serving import Server, serving
from bench.store import Load
from sardonyx_server.load.loops import Target

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


def compare(peer: Peer, model: str, generator: H2Load, plan: Plan, folder: Path) -> list[Verdict]:
    """Measure it. Starts and ends all servers it needs; Sardonyx sets itself up.

    Args:
        peer: Installed.
        model: Of ``bench/cases.py``.
        generator: Of closed loops.
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
    challenger = Challenger(peer=peer, case=case, rows=rows)
    with ExitStack() as stack:
        server = stack.enter_context(serving(case.repository))
        answer = answer_for(server.address, case.request)
        rows.check(answer)
        target = Target(address=server.address, method=METHOD, messages=(case.request,), answer_bytes=len(answer))
        ours = Contender(name="sardonyx", server=server, target=target, model=model)
        trials = fastest(challenger, generator, plan.seconds)
        slower = min(ours.in_closed_loop(generator, plan.seconds).rate_reached_per_s, trials[0].rate_per_s)
        with challenger.up(trials[0].setting) as theirs:
            theirs.in_closed_loop(generator, plan.seconds)  # It is warm then, as ours is.
            pairs = closed_loop(ours, theirs, generator, turns=plan.turns, seconds=plan.seconds)
        tried = "; ".join(map(str, trials))
        best = f"{peer.title} at its best of {len(trials)} settings: {trials[0].setting.name} ({tried})"
        throughput = Verdict(
            peer=peer.name,
            model=model,
            question=_THROUGHPUT,
            wording=_throughput_wording(peer),
            measure=Measure.THROUGHPUT,
            pairs=pairs,
            bar=_bar(peer, model),
            remarks=[best, _set_up(server, model)],
            seed=plan.seed,
        )
        loads = [_at(share, slower) for share in P99_SHARES]
        chosen = promptest(challenger, trials, loads, plan.seconds, plan.seed)
        return [throughput, *(_p99(challenger, ours, load, chosen[load], trials, plan) for load in loads)]


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


def _p99(challenger: Challenger, ours: Contender, asked: Load, best: Trial, trials: list[Trial], plan: Plan) -> Verdict:
    """At a rate, or at a lower one where the generator cannot keep it beside both servers."""
    peer, share = challenger.peer, asked.share_of_capacity or 0.0
    capacity = (asked.rate_per_s or 0.0) / share
    with challenger.up(best.setting) as theirs:

        def at(load: Load) -> Verdict:
            return Verdict(
                peer=peer.name,
                model=challenger.case.name,
                question=_p99_question(share),
                wording=f"{_p99_wording(peer, load.share_of_capacity or 0.0)}: {load.rate_per_s:,.0f}/s",
                measure=Measure.P99,
                pairs=at_equal_rates(ours, theirs, load, turns=plan.turns, seconds=plan.seconds, seed=plan.seed),
                remarks=[_chosen(peer, best, asked, trials)],
                seed=plan.seed,
            )

        verdict = at(asked)
        for slower in _SLOWER:
            if verdict.is_measured:
                break
            verdict = at(_at(share * slower, capacity))
    return verdict


def _at(share: float, capacity: float) -> Load:
    return Load(arrivals="poisson", rate_per_s=share * capacity, share_of_capacity=share)


def _chosen(peer: Peer, best: Trial, load: Load, trials: list[Trial]) -> str:
    tried = [f"{one.setting.name}: p99 {one.p99_ms[load]:,.2f} ms" for one in trials if load in one.p99_ms]
    why = "; ".join(tried) or "the only one that bears it"
    rate = f"{load.rate_per_s:,.0f}/s"
    return f"{peer.title} at its best of {len(trials)} settings at {rate}: {best.setting.name} ({why})"


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
