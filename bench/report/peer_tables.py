"""Tables of the comparisons with other servers: a summary for each peer, and one line for each of its models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bench.report.formatting import significant
from bench.report.markdown import cell, strong, table
from bench.report.verdicts import State, Verdict
from bench.store import Benchmark, Run

__all__ = ["commits", "peer_summary", "peers_by_model", "processor_column", "processor_of", "processors"]

_LETTERS: Final = 10
_UNKNOWN: Final = "an unknown processor"


def peer_summary(judged: Sequence[Verdict]) -> str:
    """Summary of each peer over all models; "" if there are none. Names no processors: each line may be of several.

    Args:
        judged: Verdicts of peers only.
    """
    rows = []
    for server in dict.fromkeys(one.benchmark.server for one in judged):
        own = [one for one in judged if one.benchmark.server == server]
        met = sum(one.state == State.MET for one in own)
        ratios = [_range(one.reached for one in own if one.at_least is at_least) for at_least in (True, False)]
        rows.append((cell(server), *ratios, f"{met} of {len(own)}"))
    head = ("beside", "rate: Sardonyx / it", "p99: Sardonyx / it", "bars met")
    return table(head, rows) if rows else ""


def peers_by_model(judged: Sequence[Verdict], run: Run) -> str:
    """All comparisons in a folded section; "" if there are none.

    Args:
        judged: Verdicts of peers only.
        run: That they are of.
    """
    pairs = dict.fromkeys((one.benchmark.server, one.benchmark.model) for one in _by_name(judged))
    rows = []
    column = processor_column(run)
    for server, model in pairs:
        own = [one for one in _by_name(judged) if (one.benchmark.server, one.benchmark.model) == (server, model)]
        ratios = [
            ", ".join(strong(one.reading, missed=one.state == State.MISSED) for one in own if one.at_least is at_least)
            for at_least in (True, False)
        ]
        measured = ", ".join(dict.fromkeys(_short(one.benchmark.commit or run.commit) for one in own))
        where = [cell(processor_of(own[0].benchmark, run))] if column else []
        rows.append((cell(server), cell(model), *(text or "not measured" for text in ratios), measured, *where))
    if not rows:
        return ""
    p99 = "p99: Sardonyx / it, at the lower and the higher rate"
    head = ("beside", "model", "rate: Sardonyx / it", p99, "commit", *column)
    return f"<details><summary>Each of them on each model</summary>\n\n{table(head, rows)}\n\n</details>"


def commits(run: Run) -> str:
    """The commits of a run as text."""
    found = sorted({one.commit or run.commit for one in run.benchmarks} or {run.commit})
    return f"commit {_short(found[0])}" if len(found) == 1 else f"{len(found)} commits, the last {_short(run.commit)},"


def processors(run: Run) -> str:
    """The processors of a run as text."""
    found = _processors(run)
    return found[0] if len(found) == 1 else f"{len(found)} processors ({'; '.join(found)})"


def processor_column(run: Run) -> Sequence[str]:
    """Head of the column that tables of a run have where its pieces are of several processors; else ()."""
    return ("processor",) if len(_processors(run)) > 1 else ()


def _processors(run: Run) -> Sequence[str]:
    return sorted({processor_of(one, run) for one in run.benchmarks} or {run.cpu or _UNKNOWN})


def processor_of(benchmark: Benchmark, run: Run) -> str:
    """The processor of a benchmark as text."""
    return benchmark.cpu or run.cpu or _UNKNOWN


def _short(commit: str) -> str:
    return f"`{commit[:_LETTERS]}`"


def _by_name(judged: Sequence[Verdict]) -> Sequence[Verdict]:
    """By server and model, and the lower rate first: its share is in the name of the benchmark."""
    return sorted(judged, key=lambda one: (one.benchmark.server, one.benchmark.model, one.benchmark.name))


def _range(values: Iterable[float | None]) -> str:
    """The range of the known values as text."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return "not measured"
    return significant(known[0]) if len(known) == 1 else f"{significant(known[0])} .. {significant(known[-1])}"
