"""The bar of loading: what the callers of one model notice while another one is loaded again and again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import grpc
import onnx

from bench.bars import Bar, Outcome
from bench.cases import METHOD, make, package
from bench.control import child
from bench.load.steady import Call, p99_s, steady
from bench.throughput import Plan
from sardonyx_wire.messages import METHODS, RepositoryModelLoadRequest, RepositoryModelUnloadRequest

__all__ = ["RELOAD", "RELOAD_NEW", "reload"]

RELOAD: Final = Bar(name="p99 of a model while another is loaded ten times, of it before", target=1.3, at_least=False)
RELOAD_NEW: Final = Bar(name="the same where each load is of a new file", target=1.3, at_least=False)

# Weights are made in its graph: a small file that takes some 0.7 s to load.
_OTHER: Final = "light_resnet50"
_LOADS: Final = 10
_RATE: Final = 500.0
_TIMEOUT_S: Final = 120.0
_MS: Final = 1e3
_LATE_S: Final = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """One turn: quiet, ten loads, quiet.

    Attributes:
        quiet: Calls that were due while nothing was loaded, before and after.
        loading: Those that were due during the loads.
        loads_s: How long each load took.
    """

    quiet: list[Call]
    loading: list[Call]
    loads_s: list[float]


def reload(plan: Plan) -> list[Outcome]:
    """One server; calls to iris at a constant rate, quiet before and after the loads, so that drift favours neither."""
    case = make("iris", plan.folder)
    file = case.repository / _OTHER / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    shutil.copyfile(package("onnx", "onnx") / "backend" / "test" / "data" / "light" / f"{_OTHER}.onnx", file)
    body = plan.folder / "request"
    body.write_bytes(case.request)
    settings = '{"model_control_mode": "explicit", "load_model": ["iris"]}'
    with (
        child("bench.serve", [str(case.repository), "--settings", settings]) as server,
        _repository(server.address, file) as repository,
    ):
        repository.load()  # The first one reads from disk and fills caches.
        kinds = [(RELOAD, repository.load), (RELOAD_NEW, repository.load_new)]
        turns = [
            (bar, _turn(server.address, body, load, plan.seconds)) for _ in range(plan.turns) for bar, load in kinds
        ]
    return [_outcome(bar, [turn for of, turn in turns if of is bar]) for bar, _ in kinds]


def _outcome(bar: Bar, turns: list[_Turn]) -> Outcome:
    quiet_s = [p99_s(turn.quiet) for turn in turns]
    loading_s = [p99_s(turn.loading) for turn in turns]
    loads_s = [load_s for turn in turns for load_s in turn.loads_s]
    pooled = [p99_s([call for turn in turns for call in calls(turn)]) for calls in (_loading, _quiet)]
    late = sum(call.latency_s > _LATE_S for turn in turns for call in turn.loading)
    return Outcome(
        bar=bar,
        values=[during / before for during, before in zip(loading_s, quiet_s, strict=True)],
        remark=f"p99 at {_RATE:g} calls/s, from the time each was due, over all turns: {pooled[0] * _MS:.2f} ms "
        f"while {_OTHER} is unloaded and loaded, {pooled[1] * _MS:.2f} ms while not; a load takes "
        f"{median(loads_s):.2f} s, and of the calls {late / len(loads_s):.1f} a load took over {_LATE_S * _MS:g} ms",
        details={"quiet_s": quiet_s, "loading_s": loading_s, "pooled_s": pooled, "loads_s": loads_s, "late": late},
    )


class _Repository:
    """Loads and unloads the other model, which lies in a file."""

    def __init__(self, channel: grpc.Channel, file: Path) -> None:
        self._file = file
        self._load: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            METHODS["RepositoryModelLoad"].path
        )
        self._unload: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            METHODS["RepositoryModelUnload"].path
        )

    def load(self) -> float:
        """Unload it, so that it is read again, and load it. Returns the seconds of the load alone. Blocks."""
        self._unload(RepositoryModelUnloadRequest(model_name=_OTHER).SerializeToString(), timeout=_TIMEOUT_S)
        began_s = time.monotonic()
        self._load(RepositoryModelLoadRequest(model_name=_OTHER).SerializeToString(), timeout=_TIMEOUT_S)
        return time.monotonic() - began_s

    def load_new(self) -> float:
        """The same with a file that was never loaded before: the same graph with another comment."""
        model = onnx.load(str(self._file))
        model.doc_string = f"loaded {time.monotonic_ns()}"
        onnx.save(model, str(self._file))
        return self.load()


@contextmanager
def _repository(address: str, file: Path) -> Iterator[_Repository]:
    with grpc.insecure_channel(address) as channel:
        yield _Repository(channel, file)


def _turn(address: str, body: Path, load: Callable[[], float], seconds: float) -> _Turn:
    with steady(address, METHOD, body) as calls:
        calls.measure(_RATE, seconds / 2)  # Warm.
        calls.start(_RATE)
        time.sleep(seconds)
        began_s = time.monotonic()
        loads_s = [load() for _ in range(_LOADS)]
        ended_s = time.monotonic()
        time.sleep(seconds)
        found = calls.stop()
    loading = [call for call in found if began_s <= call.due_s < ended_s]
    quiet = [call for call in found if call.due_s + call.latency_s < began_s or call.due_s >= ended_s]
    return _Turn(quiet=quiet, loading=loading, loads_s=loads_s)


def _loading(turn: _Turn) -> list[Call]:
    return turn.loading


def _quiet(turn: _Turn) -> list[Call]:
    return turn.quiet
