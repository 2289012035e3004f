"""The regression gate: has the p99 grown? Compares this checkout with another commit, or with a stored run of the gate.

    python -m bench.gate [--against COMMIT|RUN.json] [--only MODEL]... [--starts N] [--seconds S] [--free]
    python -m bench.gate --self-test

Exit status: 0 if no p99 has grown by more than a tenth beyond chance, 1 if one has, 2 if one was not measured.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.cases import CASES, CaseMissing
from bench.control import ChildFailed
from bench.environment import busy_cores, changed_files, checkout_of, run_fields
from bench.gate.baseline import Plan, compare_with_commit, compare_with_stored_run
from bench.gate.comparison import Comparison
from bench.gate.cpu_affinity import UNPINNED, split_cores
from bench.gate.exit_status import Status, closing_lines_and_status
from bench.gate.pairs import Depth
from bench.gate.self_test import injected_ratio, mistakes, self_test
from bench.gate.table import lines
from bench.results import new_file, tell_where, warn_if_busy
from bench.store import Run
from sardonyx_server.load.loops import LoadGeneratorError

__all__: list[str] = []

_MODELS: Final = ("iris", "mlp", "image")
_DEPTH: Final = Depth()


def main() -> int:
    """Measure, print, store. Returns the exit status."""
    given = _arguments()
    told = shlex.join(["python", "-m", "bench.gate", *sys.argv[1:]])
    against = given.against or ("HEAD" if changed_files() else "HEAD~1")
    with ExitStack() as stack:
        plan = Plan(
            folder=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sardonyx-gate-"))),
            models=given.only or _MODELS,
            depth=Depth(starts=given.starts, seconds=given.seconds),
            cores=UNPINNED if given.free else split_cores(),
            seed=given.seed,
            tell=_tell,
        )
        print(_method(plan))
        warn_if_busy(busy_cores(), "wide intervals")
        try:
            if given.self_test:
                return _self_test(plan)
            found = _compared(plan, against, stack)
        except (CaseMissing, OSError, ValueError) as error:
            print(f"{against}: {error}", file=sys.stderr)
            return int(Status.UNMEASURED)
        except (KeyError, TypeError) as error:
            print(f"{against}: expected a stored run; {type(error).__name__}: {error}", file=sys.stderr)
            return int(Status.UNMEASURED)
    print("\n" + "\n".join(lines(found)) + "\n")
    _write(new_file("gate", given.json), found, told, given.seed, against)
    words, status = closing_lines_and_status(found)
    print("\n".join(words))
    return int(status)


def _compared(plan: Plan, against: str, stack: ExitStack) -> list[Comparison]:
    """What ``--against`` names, a file or a commit.

    Raises:
        CaseMissing: git knows no such commit.
        OSError: The file cannot be read.
        ValueError: It is not JSON.
    """
    if against.endswith(".json"):
        print(f"before: the figures stored in {against}; after: this checkout")
        return compare_with_stored_run(plan, Run.read(Path(against)))
    print(f"before: {against}; after: this checkout")
    return compare_with_commit(plan, stack.enter_context(checkout_of(against, plan.folder / "before")))


def _self_test(plan: Plan) -> int:
    print("before: this checkout; after: the same, then the same with a model whose runs take a fifth longer")
    try:
        unchanged, slowed = self_test(plan)
    except (ChildFailed, LoadGeneratorError) as error:
        print(f"the self-test could not be measured: {error}", file=sys.stderr)
        return int(Status.UNMEASURED)
    print("\n" + "\n".join(lines([unchanged, slowed])) + "\n")
    if slowed.pairs:
        print(f"planted: the servers' own clocks say that a run took {injected_ratio(slowed):.2f} times as long")
    wrong = mistakes(unchanged, slowed)
    print("\n".join(wrong) or "the gate tells them apart, and names the cause")
    return int(Status.WORSE if wrong else Status.PASSED)


def _method(plan: Plan) -> str:
    depth = plan.depth
    return (
        f"{plan.cores}; {depth.starts} starts, {depth.seconds:g} s for each server in each, in turns (A B, B A, ...), "
        "both of a pair under the same arrivals"
    )


def _write(file: Path, found: Sequence[Comparison], told: str, seed: int, against: str) -> None:
    """As :class:`bench.store.Run`, with what this checkout was compared with."""
    record = {
        "sardonyx": {**run_fields(told, seed=seed, quick=False), "against": against},
        "benchmarks": [one.as_benchmark(told).as_json() for one in found],
    }
    file.write_text(json.dumps(record, indent=1) + "\n")
    tell_where(file)


def _tell(words: str) -> None:
    print(f"    {words}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--against", metavar="COMMIT|RUN.json", help="default: HEAD where files are changed, else the commit before it"
    )
    parser.add_argument("--only", action="append", choices=CASES, metavar="MODEL", help=f"of {', '.join(CASES)}")
    parser.add_argument("--starts", type=_positive, default=_DEPTH.starts, help="how often both servers are started")
    parser.add_argument(
        "--seconds", type=float, default=_DEPTH.seconds, help="under load, of each server in each start"
    )
    parser.add_argument("--free", action="store_true", help="pin nothing; noisier, but servers get all cores")
    parser.add_argument("--seed", type=int, default=0, help="of arrivals and of the resampling")
    parser.add_argument("--json", type=Path, help="where the results go; default: build/bench/gate-DATE.json")
    parser.add_argument("--self-test", action="store_true", help="plant a slowdown, and see whether the gate finds it")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
