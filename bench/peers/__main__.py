"""Compares Sardonyx with other servers, one peer at a time. See bench/peers/README.md.

    python -m bench.peers [--only PEER ...] [--models MODEL ...] [--turns N] [--seconds S] [--quick] [--json FILE]

Results of other peers, models and loads in an existing results file are kept, so a long comparison can be measured in
pieces.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Final

import grpc

from bench.bootstrap import LEAST_REPEATS
from bench.cases import SEED, CaseMissing
from bench.control import ChildFailed
from bench.environment import busy_cores, run_fields
from bench.limits.cpp_echo.build import CppEchoMissing
from bench.limits.reference import WrongAnswer
from bench.load.h2load import H2Load
from bench.peers.catalogue import MODELS, MORE_MODELS, PEERS, Peer, peers
from bench.peers.compare import Plan, compare, not_measured
from bench.peers.cpp_echo import CPP_ECHO, beside_cpp_echo, cpp_echo_not_measured
from bench.peers.install import PeerMissing, install
from bench.peers.results import write
from bench.peers.running import PeerFailed
from bench.peers.verdict import Standing, Verdict, by_standing
from bench.results import new_file, tell_where, warn_if_busy
from sardonyx_server.load.loops import LoadGeneratorError
from sardonyx_server.runtime.cores import available_cores

__all__: list[str] = []

_WIDTH: Final = 120
_HEADINGS: Final = ("peer", "model", "what", "Sardonyx", "peer's", "times better", "bar", "")
_TURNS: Final = (6, 3)
_SECONDS: Final = (2.0, 0.7)
_FAILURES: Final = (
    CaseMissing,
    ChildFailed,
    CppEchoMissing,
    LoadGeneratorError,
    OSError,
    PeerFailed,
    WrongAnswer,
    grpc.RpcError,
)


def main() -> int:
    """Measure what the command line asks for.

    Returns:
        Exit status: 0 where every comparison could be measured, won or not, else 1.
    """
    given = _arguments()
    # Ended early, it must not leave servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    generator = H2Load.installed()
    if generator is None:
        sys.exit("h2load is not installed (on Debian: apt-get install nghttp2-client); peers are compared with it only")
    plan = Plan(
        turns=given.turns or _TURNS[given.quick], seconds=given.seconds or _SECONDS[given.quick], seed=given.seed
    )
    cores = available_cores()
    print(f"{cores} cores shared by servers and callers; {generator.name}; {plan.turns} turns of {plan.seconds:g} s")
    warn_if_busy(busy_cores())
    command = shlex.join(["python", "-m", "bench.peers", *sys.argv[1:]])
    fields = run_fields(command, seed=plan.seed, quick=given.quick)
    verdicts: list[Verdict] = []
    models = given.models or MODELS
    for name in given.only or (CPP_ECHO, *PEERS):
        if name == CPP_ECHO:
            verdicts += [_limit(model, generator, plan) for model in models]
        else:
            verdicts += _beside(peers(cores)[name], models, generator, plan)
    _print_table(by_standing(verdicts))
    file = new_file("peers", given.json)
    write(file, verdicts, fields)
    tell_where(file)
    return int(any(verdict.standing is Standing.UNKNOWN for verdict in verdicts))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description="Measures Sardonyx beside other servers."
    )
    names = (CPP_ECHO, *PEERS)
    parser.add_argument("--only", nargs="+", choices=names, metavar="PEER", help=f"of {', '.join(names)}")
    models = (*MODELS, *MORE_MODELS)
    parser.add_argument("--models", nargs="+", choices=models, metavar="MODEL", help=f"of {', '.join(models)}")
    parser.add_argument("--turns", type=_turns, help=f"how often each is measured; default {_TURNS[0]}")
    parser.add_argument("--seconds", type=float, help=f"about how long each time; default {_SECONDS[0]:g}")
    parser.add_argument("--quick", action="store_true", help="short turns and few; wide intervals")
    parser.add_argument("--seed", type=int, default=SEED, help="of arrivals and of the bootstrap")
    parser.add_argument(
        "--json", type=Path, help="where results go, or are added; default: build/bench/peers-DATE.json"
    )
    return parser.parse_args()


def _turns(text: str) -> int:
    number = int(text)
    if number < LEAST_REPEATS:
        raise argparse.ArgumentTypeError(f"expected at least {LEAST_REPEATS}, got {number}: one turn has no interval")
    return number


def _beside(peer: Peer, models: Sequence[str], generator: H2Load, plan: Plan) -> list[Verdict]:
    """One peer on all models. An error is reported, and ends neither the run nor the peer's other models."""
    try:
        install(peer.name)
    except PeerMissing as error:
        return [verdict for model in models for verdict in not_measured(peer, model, str(error))]
    verdicts: list[Verdict] = []
    for model in models:
        print(f"measuring {model} beside {peer.title} ...", file=sys.stderr, flush=True)
        try:
            with tempfile.TemporaryDirectory(prefix="sardonyx-peers-") as folder:
                verdicts += compare(peer, model, generator, plan, Path(folder))
        except _FAILURES as error:
            verdicts += not_measured(peer, model, f"{type(error).__name__}: {error}")
    return verdicts


def _limit(model: str, generator: H2Load, plan: Plan) -> Verdict:
    """The C++ echo on one model; errors are handled likewise."""
    print(f"measuring {model} beside the C++ echo ...", file=sys.stderr, flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="sardonyx-peers-") as folder:
            return beside_cpp_echo(model, generator, plan, Path(folder))
    except _FAILURES as error:
        return cpp_echo_not_measured(model, f"{type(error).__name__}: {error}")


def _print_table(verdicts: list[Verdict]) -> None:
    rows = [_HEADINGS, *(verdict.cells() for verdict in verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    said = set[str]()
    for verdict in verdicts:
        _print_remarks(verdict, said)
    judged = [verdict for verdict in verdicts if verdict.bar is not None]
    met = sum(verdict.standing is Standing.MET for verdict in judged)
    print(f"\n{met} of {len(judged)} comparisons won with the whole interval above their bar")


def _print_remarks(verdict: Verdict, said: set[str]) -> None:
    text = f"{verdict.peer}, {verdict.model}: {'; '.join(verdict.remarks)}"
    if text not in said:
        said.add(text)
        print(fill(text, _WIDTH, initial_indent="\n  ", subsequent_indent="    "))


if __name__ == "__main__":
    sys.exit(main())
