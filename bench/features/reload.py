"""The bar of model loading: the p99 of one model while another is repeatedly unloaded and loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

import grpc
import numpy as np
import onnx
from onnx import numpy_helper

from bench.bars import Bar, Outcome
from bench.cases import METHOD, make, package
from bench.load.constant_rate import RATE_PER_S, ConstantRateLoad, constant_rate_load
from bench.serving import serving
from bench.testbed import Plan
from sardonyx_server.load.report import Report
from sardonyx_wire.messages import METHODS, RepositoryModelLoadRequest, RepositoryModelUnloadRequest

__all__ = ["RELOAD", "RELOAD_NEW", "reload"]

RELOAD: Final = Bar(name="p99 of a model while another is loaded ten times, of it before", target=1.3, at_least=False)
RELOAD_NEW: Final = Bar(name="the same where each load is of a new file", target=1.3, at_least=False)

# With its weights in its file, as models have them, it takes 0.4 to 0.7 s to load; as it is, with weights that are made
# in its graph, it took as long once, and takes 0.2 s now.
_OTHER: Final = "light_resnet50"
_LOADS: Final = 10
_TIMEOUT_S: Final = 120.0
_P99: Final = 99.0
_MS: Final = 1e3
_LATE_S: Final = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """One turn: quiet, at least ten loads one after another, quiet.

    Attributes:
        quiet: Calls before and after the loads.
        loading: Calls that were due during the loads.
        loads_s: How long each load took.
    """

    quiet: Report
    loading: Report
    loads_s: list[float]


def reload(plan: Plan) -> list[Outcome]:
    """One server; calls to iris at a constant rate, quiet before and after the loads, so that drift favours neither."""
    case = make("iris", plan.folder)
    file = case.repository / _OTHER / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    light = package("onnx", "onnx") / "backend" / "test" / "data" / "light" / f"{_OTHER}.onnx"
    onnx.save(_with_weights(onnx.load(str(light))), str(file))
    with (
        serving(case.repository, settings={"model_control_mode": "explicit", "load_model": ["iris"]}) as server,
        _repository(server.address, file) as repository,
        constant_rate_load(server.address, METHOD, case.request) as calls,
    ):
        repository.load()  # The first one reads from disk and fills caches.
        kinds = [(RELOAD, repository.load), (RELOAD_NEW, repository.load_new)]
        turns = [(bar, _turn(calls, load, plan.seconds)) for _ in range(plan.turns) for bar, load in kinds]
    return [_outcome(bar, [turn for of, turn in turns if of is bar]) for bar, _ in kinds]


def _outcome(bar: Bar, turns: list[_Turn]) -> Outcome:
    quiet_s = [turn.quiet.latencies.percentile_s(_P99) for turn in turns]
    loading_s = [turn.loading.latencies.percentile_s(_P99) for turn in turns]
    loads_s = [load_s for turn in turns for load_s in turn.loads_s]
    loading, quiet = (Report.merged([getattr(turn, name) for turn in turns]) for name in ("loading", "quiet"))
    pooled_s = [whole.latencies.percentile_s(_P99) for whole in (loading, quiet)]
    late = loading.latencies.count_above(_LATE_S)
    return Outcome(
        bar=bar,
        values=[during / before for during, before in zip(loading_s, quiet_s, strict=True)],
        remark=f"p99 at {RATE_PER_S:g} calls/s, from the time each was due, over all turns: "
        f"{pooled_s[0] * _MS:.2f} ms while {_OTHER} is unloaded and loaded, {pooled_s[1] * _MS:.2f} ms while not; a "
        f"load takes {median(loads_s):.2f} s, and of the calls {late / len(loads_s):.1f} a load took over "
        f"{_LATE_S * _MS:g} ms",
        details={
            "quiet_s": quiet_s,
            "loading_s": loading_s,
            "pooled_s": pooled_s,
            "loads_s": loads_s,
            "late": late,
            "quiet_histogram": quiet.latencies.encode(),
            "loading_histogram": loading.latencies.encode(),
        },
    )


def _with_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with its weights as initializers, in place of nodes that make them of their shapes."""
    graph = model.graph
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "ConstantOfShape"]:
        (value,) = numpy_helper.to_array(node.attribute[0].t)
        weights = np.full(shapes.pop(node.input[0]).tolist(), value)
        graph.initializer.append(numpy_helper.from_array(weights, node.output[0]))
        graph.node.remove(node)
    # What is left of the shapes is used elsewhere.
    used = set(shapes) | {name for node in graph.node for name in node.input}
    for spare in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(spare)
    for unused in [each for each in graph.input if each.name not in used]:
        graph.input.remove(unused)
    return model


class _Repository:
    """Loads and unloads the other model, which lies in a file."""

    def __init__(self, channel: grpc.Channel, file: Path) -> None:
        self._file = file
        self._graph_bytes = file.stat().st_size
        self._comments = count()
        self._load: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            METHODS["RepositoryModelLoad"].path
        )
        self._unload: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            METHODS["RepositoryModelUnload"].path
        )

    def load(self) -> float:
        """Unload the model, so that its file is read again, and load it. Returns the seconds of loading. Blocks."""
        self._unload(RepositoryModelUnloadRequest(model_name=_OTHER).SerializeToString(), timeout=_TIMEOUT_S)
        began_s = time.monotonic()
        self._load(RepositoryModelLoadRequest(model_name=_OTHER).SerializeToString(), timeout=_TIMEOUT_S)
        return time.monotonic() - began_s

    def load_new(self) -> float:
        """The same with a file that was never loaded before: the same graph with another comment.

        Messages one after another are one message to protobuf, so only the comment is written: the cores are not ours.
        """
        comment = onnx.ModelProto(doc_string=f"loaded {next(self._comments):06}").SerializeToString()
        with self._file.open("r+b") as opened:
            opened.seek(self._graph_bytes)
            opened.write(comment)
        return self.load()


@contextmanager
def _repository(address: str, file: Path) -> Iterator[_Repository]:
    with grpc.insecure_channel(address) as channel:
        yield _Repository(channel, file)


def _turn(calls: ConstantRateLoad, load: Callable[[], float], seconds: float) -> _Turn:
    loads_s: list[float] = []
    loading: list[Report] = []
    before = calls.measure(seconds)
    with ThreadPoolExecutor(max_workers=1) as beside:
        while len(loads_s) < _LOADS:
            measured = beside.submit(calls.measure, seconds)
            while not measured.done():
                loads_s.append(load())
            loading.append(measured.result())
    after = calls.measure(seconds)
    return _Turn(quiet=Report.merged([before, after]), loading=Report.merged(loading), loads_s=loads_s)
