"""Disruptions under load: the model itself is reloaded, and callers cancel."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc
import onnx

from bench.cases import METHOD, make
from bench.control import child
from bench.serving import serving
from bench.store import Load, Point
from bench.suite.findings import Findings, Recorder, paired_bar
from bench.suite.measuring import LoadTarget, load_target, measure
from bench.suite.plan import Plan
from bench.turns import in_turns
from sardonyx_wire.messages import METHODS, RepositoryModelLoadRequest

_RATE: Final = 500.0
_RELOADS: Final = 3
_OF_BEFORE: Final = 1.2
_TIMEOUT_S: Final = 60.0
_STORM_MODEL: Final = "magika"
_STORM_RATE: Final = 300.0
# Well before a run of this model ends, so that calls are given up in the queue and in the run.
_STORM_AFTER_S: Final = 0.003
_STEADY_RATE: Final = 50.0


def test_p99_during_reload(
    plan: Plan, record: Recorder, folder: Callable[[], Path], say: Callable[[str], None]
) -> None:
    """What do callers notice when the very model that they ask is loaded anew?"""

    def run() -> Findings:
        case = make("iris", folder())
        with (
            serving(case.repository, settings={"model_control_mode": "explicit", "load_model": [case.name]}) as server,
            # If all its threads gave way, the one that loads would do so no more than the one that serves.
            load_target(server, [case.request], model=case.name, server_yields=False) as target,
            grpc.insecure_channel(server.address) as channel,
        ):
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHODS["RepositoryModelLoad"].path)

            def reload() -> None:
                # What has not changed is not read again: the same graph with another comment.
                model = onnx.load(str(case.file))
                model.doc_string = f"loaded {time.monotonic_ns()}"
                onnx.save(model, str(case.file))
                request = RepositoryModelLoadRequest(model_name=case.name).SerializeToString()
                call(request, timeout=_TIMEOUT_S)

            reload()  # The first one fills caches.
            load = Load(arrivals="poisson", rate_per_s=_RATE)
            seconds = plan.load_s if plan.turns == 1 else plan.load_s / 2
            arms = {
                "quiet": lambda turn: measure(target, load, seconds, plan.seed + turn),
                "during": lambda turn: _while(target, load, seconds, plan.seed + turn, reload),
            }
            turns = []
            for turn in in_turns(arms, plan.turns):
                turns.append(turn)
                say(f"p99 {turn['quiet'].p99_ms:.2f} ms without loads, {turn['during'].p99_ms:.2f} ms with them")
        points = [replace(point, label=label) for turn in turns for label, point in turn.items()]
        counting = [turn for turn in turns if all(point.valid for point in turn.values())]
        quiet_ms, during_ms = ([turn[name].p99_ms for turn in counting] for name in arms)
        return Findings(
            points=points,
            figures={
                "lost": float(sum(sum(point.failed.values()) for point in points)),
                "reloads": float(_RELOADS * len(turns)),
            }
            | paired_bar(during_ms, quiet_ms, _OF_BEFORE, at_least=False),
            remarks=[
                f"{len(turns)} turns with and without loads under the same arrivals; {_RELOADS} loads spread over each"
            ],
        )

    record("reload", run)


def _while(target: LoadTarget, load: Load, seconds: float, seed: int, change: Callable[[], None]) -> Point:
    """A load during which something is done several times."""
    problems: list[grpc.RpcError] = []

    def changes() -> None:
        try:
            for _ in range(_RELOADS):
                time.sleep(seconds / (_RELOADS + 1))
                change()
        except grpc.RpcError as error:
            problems.append(error)

    thread = threading.Thread(target=changes, name="changes")
    thread.start()
    point = measure(target, load, seconds, seed)
    thread.join()
    if problems:
        raise problems[0]
    return point


def test_p99_after_a_cancel_storm(
    plan: Plan, record: Recorder, folder: Callable[[], Path], say: Callable[[str], None]
) -> None:
    """What do patient callers notice of others who ask a lot and go away before they are answered?"""

    def run() -> Findings:
        case = make(_STORM_MODEL, folder())
        body = folder() / "request"
        body.write_bytes(case.request)
        load = Load(arrivals="poisson", rate_per_s=_STEADY_RATE)
        with serving(case.repository) as server, load_target(server, [case.request], model=case.name) as target:
            before = replace(measure(target, load, plan.load_s, plan.seed), label="before")
            with child("bench.load.canceller", [server.address, METHOD, str(body)]) as storm:
                storm.ask(json.dumps({"rate": _STORM_RATE, "after_s": _STORM_AFTER_S}))
                during = replace(measure(target, load, plan.load_s, plan.seed), label="during")
                counts: dict[str, Any] = dict(storm.ask("{}"))
            after = replace(measure(target, load, plan.load_s, plan.seed), label="after")
        points = [before, during, after]
        say(f"p99 {before.p99_ms:.2f}, {during.p99_ms:.2f}, {after.p99_ms:.2f} ms; storm: {counts}")
        return Findings(
            points=points,
            figures={
                "lost": float(sum(sum(point.failed.values()) for point in points)),
                "cancelled": float(counts["cancelled"]),
                "answered_before_cancelled": float(counts["answered"]),
                "after_of_before": after.p99_ms / before.p99_ms,
                "during_of_before": during.p99_ms / before.p99_ms,
            },
            remarks=[f"{case.name} at {_STEADY_RATE:g}/s; the storm {_STORM_RATE:g}/s, each for {_STORM_AFTER_S:g} s"],
        )

    record("cancel-storm", run)
