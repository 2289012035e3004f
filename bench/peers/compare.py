"""Compares one peer with Sardonyx on one model: tunes the peer, then measures throughput, and p99 at equal rates."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.arms import fetch_answer
from bench.cases import METHOD, make
from bench.limits.reference import ReferenceModel
from bench.load.h2load import H2Load
from bench.peers.ab_comparison import CALLERS, Competitor, at_equal_rates, closed_loop
from bench.peers.catalogue import Peer, Protocol
from bench.peers.tuning import Trial, TunedPeer, best_by_p99, by_throughput
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
        seed: Seed of arrivals and of the bootstrap.
    """

    turns: int
    seconds: float
    seed: int


def compare(peer: Peer, model: str, generator: H2Load, plan: Plan, folder: Path) -> list[Verdict]:
    """Measure it. Starts and ends all servers it needs; Sardonyx sets itself up.

    Args:
        peer: Installed.
        model: Name of a case in ``bench/cases.py``.
        generator: Load generator of closed loops.
        plan: Sample size.
        folder: Empty.

    Raises:
        CaseMissing: The package that ships the model is not installed.
        ChildFailed: Sardonyx did not start.
        LoadGeneratorError: A load failed on either server.
        PeerFailed: The peer did not start at any setting.
        WrongAnswer: Sardonyx answers something else than the model says.
    """
    case = make(model, folder)
    reference = ReferenceModel(case)
    tuned_peer = TunedPeer(peer=peer, case=case, reference=reference)
    with ExitStack() as stack:
        server = stack.enter_context(serving(case.repository))
        answer = fetch_answer(server.address, case.request)
        reference.check(answer)
        target = Target(address=server.address, method=METHOD, messages=(case.request,), answer_bytes=len(answer))
        ours = Competitor(name="sardonyx", server=server, target=target, model=model)
        trials = by_throughput(tuned_peer, generator, plan.seconds)
        slower = min(ours.in_closed_loop(generator, plan.seconds).rate_reached_per_s, trials[0].rate_per_s)
        with tuned_peer.up(trials[0].setting) as theirs:
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
        chosen = best_by_p99(tuned_peer, trials, loads, plan.seconds, plan.seed)
        return [throughput, *(_p99(tuned_peer, ours, load, chosen[load], trials, plan) for load in loads)]


def not_measured(peer: Peer, model: str, reason: str) -> list[Verdict]:
    """Verdicts of a peer that could not be installed, started or loaded.

    Args:
        peer: The peer.
        model: The model.
        reason: Why.
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


def _p99(tuned_peer: TunedPeer, ours: Competitor, asked: Load, best: Trial, trials: list[Trial], plan: Plan) -> Verdict:
    """p99 at a rate, or at a lower one if the generator cannot keep its schedule."""
    peer, share = tuned_peer.peer, asked.share_of_capacity or 0.0
    capacity = (asked.rate_per_s or 0.0) / share
    with tuned_peer.up(best.setting) as theirs:

        def at(load: Load) -> Verdict:
            return Verdict(
                peer=peer.name,
                model=tuned_peer.case.name,
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
    """The bar of throughput."""
    return peer.least.get(model, 1.0)


def _throughput_wording(peer: Peer) -> str:
    other = "" if peer.protocol is Protocol.OIP else f" (it over {peer.protocol})"
    return f"answers a second, {CALLERS} callers{other}"


def _p99_wording(peer: Peer, share: float) -> str:
    other = "" if peer.protocol is Protocol.OIP else f" (it over {peer.protocol})"
    return f"p99 at {share:.2g} of the slower one's rate{other}"


def _p99_question(share: float) -> str:
    return f"test_p99_at_{share:.0%}_of_the_slower_rate_beside".replace("%", "_percent")
