"""The bar of the import time: importing the client, compared with importing only its dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final

from bench.bars import Bar, Outcome
from bench.control import ROOT, ChildFailed
from bench.testbed import Plan

__all__ = ["IMPORT", "imports"]

IMPORT: Final = Bar(name="import sardonyx_client, of grpc, numpy and protobuf's", target=1.15, at_least=False)

_CLIENT: Final = "sardonyx_client"
_NEEDED: Final = "grpc, numpy, google.protobuf.message"
# An import takes a fraction of a second: many short turns.
_TURNS_EACH: Final = 5
_TIMEOUT_S: Final = 60.0
_MS: Final = 1e3


def imports(plan: Plan) -> list[Outcome]:
    """Each in a fresh interpreter, whose own start is not counted; from bytecode, as a second import is."""
    bytecode = plan.folder / "bytecode"
    for what in (_CLIENT, _NEEDED):
        _import_s(what, bytecode)  # The first import compiles, and fills the page cache.
    found: list[dict[str, float]] = []
    for turn in range(plan.turns * _TURNS_EACH):
        order = (_CLIENT, _NEEDED) if turn % 2 == 0 else (_NEEDED, _CLIENT)
        found.append({what: _import_s(what, bytecode) for what in order})
    client_ms, needed_ms = (median(one[what] for one in found) * _MS for what in (_CLIENT, _NEEDED))
    return [
        Outcome(
            bar=IMPORT,
            values=[one[_CLIENT] / one[_NEEDED] for one in found],
            remark=f"{client_ms:.0f} ms, and {needed_ms:.0f} ms for import {_NEEDED}; {len(found)} pairs",
            details={"seconds": found},
        )
    ]


def _import_s(what: str, bytecode: Path) -> float:
    """Seconds of an import. Raises ChildFailed if it fails."""
    program = f"import time; began = time.perf_counter(); import {what}; print(time.perf_counter() - began)"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(  # noqa: S603  # ours
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise ChildFailed(f"import {what}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)
