"""Bars of client calls: the call rate of one client process, compared with other clients on the same server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from bench.arms import Arm, fetch_answer, measure_in_turns
from bench.bars import Bar, Outcome
from bench.cases import Case, make
from bench.client.arm import Callers
from bench.control import ROOT, child
from bench.limits.reference import ReferenceModel, WrongAnswer
from bench.load.result import Streams
from bench.serving import serving
from bench.testbed import Plan, ratios, turns_as_json

__all__ = ["GROUPS"]

_US: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arm:
    """A client in a process of its own.

    Attributes:
        name: For the report.
        kind: ``sync`` or ``async``.
        client: Name of a client in ``bench.client.clients``.
        callers: Threads or tasks.
    """

    name: str
    kind: str
    client: str
    callers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """Arms that are measured in turns, the first of them this project's.

    Attributes:
        arms: Their names differ.
        bars: Name of the arm that the first is divided by -> bar.
        settings: Server settings.
    """

    arms: Sequence[_Arm]
    bars: dict[str, Bar]
    settings: Mapping[str, object] = field(default_factory=dict)


def _sync(callers: int) -> _Comparison:
    threads = "1 thread" if callers == 1 else f"{callers} threads"
    clients = {"client": "sardonyx", "tritonclient": "triton", "stub": "stub"}
    return _Comparison(
        arms=[_Arm(name=name, kind="sync", client=client, callers=callers) for name, client in clients.items()],
        bars={
            "tritonclient": Bar(name=f"sync, {threads}, of tritonclient's rate", target=1.3),
            "stub": Bar(name=f"sync, {threads}, of the bare stub's rate", target=0.75),
        },
    )


def _async(callers: int) -> _Comparison:
    tasks = "1 task" if callers == 1 else f"{callers} tasks"
    clients = {"client": "sardonyx", "tritonclient": "triton"}
    return _Comparison(
        arms=[_Arm(name=name, kind="async", client=client, callers=callers) for name, client in clients.items()],
        bars={"tritonclient": Bar(name=f"async, {tasks}, of tritonclient's aio", target=1.5)},
    )


def _joined(callers: int) -> _Comparison:
    clients = {"joined": "joined", "tritonclient": "triton", "client": "sardonyx"}
    return _Comparison(
        arms=[_Arm(name=name, kind="async", client=client, callers=callers) for name, client in clients.items()],
        bars={"tritonclient": Bar(name=f"coalesced, {callers} tasks, of tritonclient's aio", target=5.0)},
    )


def _large(callers: int) -> _Comparison:
    threads = "1 thread" if callers == 1 else f"{callers} threads"
    comparison = _sync(callers)
    return _Comparison(
        arms=comparison.arms,
        bars={"tritonclient": Bar(name=f"602 kB each way, {threads}, of tritonclient's rate", target=1.5)},
    )


def _shared(callers: int) -> _Comparison:
    """The server allows shared memory, and the client finds that out by itself."""
    threads = "1 thread" if callers == 1 else f"{callers} threads"
    clients = {"shared": "sardonyx", "tritonclient": "triton", "client": "sent"}
    return _Comparison(
        arms=[_Arm(name=name, kind="sync", client=client, callers=callers) for name, client in clients.items()],
        bars={"tritonclient": Bar(name=f"602 kB each way, shared, {threads}, of tritonclient's rate", target=3.0)},
        settings={"allow_client_shm": True},
    )


_SMALL: Final = ("iris", ("label", "probabilities"))
_LARGE: Final = ("identity", ("y",))


def _group(
    model: str, outputs: Sequence[str], *comparisons: _Comparison
) -> tuple[Callable[[Plan], list[Outcome]], tuple[Bar, ...]]:
    def measure(plan: Plan) -> list[Outcome]:
        case = make(model, plan.folder)
        return [outcome for one in comparisons for outcome in _compare(plan, case, outputs, one)]

    return measure, tuple(bar for one in comparisons for bar in one.bars.values())


def _compare(plan: Plan, case: Case, outputs: Sequence[str], comparison: _Comparison) -> list[Outcome]:
    """All processes are up and wait for their turn; what they answer must be the same."""
    inputs, stubs = plan.folder / "inputs.npz", plan.folder / "stubs"
    np.savez(inputs, **case.row)  # type: ignore[arg-type]  # numpy's stub takes the second positional for a keyword
    if not stubs.exists():
        stubs.mkdir()
        _generate(stubs)
    with ExitStack() as stack:
        server = stack.enter_context(serving(case.repository, settings=comparison.settings))
        answer = fetch_answer(server.address, case.request)
        ReferenceModel(case).check(answer)
        arms, digests = [], {}
        for arm in comparison.arms:
            arguments = [arm.kind, arm.client, str(arm.callers), server.address, case.name, str(inputs)]
            process = stack.enter_context(child("bench.client.caller", [*arguments, ",".join(outputs), str(stubs)]))
            digests[arm.name] = process.hello["digest"]
            arms.append(
                Arm(
                    arm.name,
                    server,
                    model=case.name,
                    request=case.request,
                    answer_bytes=len(answer),
                    streams=Streams(connections=1, streams=arm.callers),
                    generator=Callers(arm.name, process),
                )
            )
        if len(set(digests.values())) > 1:
            raise WrongAnswer(f"the clients understand the same answer differently: {digests}")
        turns = list(measure_in_turns(arms, turns=plan.turns, seconds=plan.seconds))
    first = comparison.arms[0].name
    rates = ", ".join(
        f"{name} {median(turn[name].load.rate for turn in turns):,.0f}/s "
        f"({median(turn[name].load.cpu_s / turn[name].load.requests for turn in turns) * _US:,.0f} us CPU a call)"
        for name in turns[0]
    )
    return [
        Outcome(bar=bar, values=ratios(turns, other, arm=first), remark=rates, details={"turns": turns_as_json(turns)})
        for other, bar in comparison.bars.items()
    ]


def _generate(folder: Path) -> None:
    """The stub as any user generates it."""
    protos = ("inference/model_config.proto", "inference/grpc_service.proto")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}"]
    command += [f"--python_out={folder}", f"--grpc_python_out={folder}", *protos]
    subprocess.run(command, cwd=ROOT / "protos", check=True)  # noqa: S603  # protoc


GROUPS: Final = {
    "sync": _group(*_SMALL, _sync(1), _sync(8)),
    "async": _group(*_SMALL, _async(1), _async(16), _async(64)),
    "coalesce": _group(*_SMALL, _joined(64)),
    "large": _group(*_LARGE, _large(1), _large(4)),
    "shared": _group(*_LARGE, _shared(1), _shared(4)),
}
