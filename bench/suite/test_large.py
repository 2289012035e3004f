"""Large tensors: 602 kB in, out, and in shared memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from bench.arms import fetch_answer
from bench.cases import make
from bench.features.shm import FOLDER, named, region
from bench.limits.allowance import allowance
from bench.limits.reference import ReferenceModel, WrongAnswer
from bench.load.result import Generator
from bench.serving import bare_echo, serving
from bench.store import Point
from bench.suite.closed_loop import closed, cpu_s_of
from bench.suite.findings import Findings, Recorder, paired_bar
from bench.suite.plan import Plan
from bench.turns import in_turns
from sardonyx_server.runtime.cores import available_cores
from sardonyx_wire.messages import ModelInferRequest

_CALLERS: Final = 16
_OF_ALLOWANCE: Final = 0.85


@pytest.mark.parametrize("way", ["in", "out"])
def test_rate_of_large_tensors(
    way: str, generator: Generator, plan: Plan, record: Recorder, folder: Callable[[], Path]
) -> None:
    """How many images a second come in, or go out?"""

    def run() -> Findings:
        case = make({"in": "image", "out": "spread"}[way], folder())
        reference = ReferenceModel(case)
        with serving(case.repository) as server:
            answer = fetch_answer(server.address, case.request)
            reference.check(answer)
            with bare_echo(len(answer)) as echo:
                asked = partial(closed, generator, request=case.request, answer_bytes=len(answer), callers=_CALLERS)
                arms = {
                    "server": lambda _: asked(server, seconds=plan.load_s / plan.turns, model=case.name),
                    "echo": lambda _: asked(echo, seconds=plan.load_s / plan.turns / 2),
                }
                turns = list(in_turns(arms, plan.turns))
        points, rates = [], [turn["server"].rate_reached_per_s for turn in turns]
        for turn in turns:
            row_s = reference.cpu_s(
                max(1.0, turn["server"].batch_rows_mean or 1.0), budget_s=plan.limit_s / plan.turns / 4
            )
            most = allowance(available_cores(), row_s, cpu_s_of(turn["echo"]))
            points.append(replace(turn["server"], label=way, allowance_per_s=most))
        return Findings(
            points=points,
            figures={"echo_per_s": median(turn["echo"].rate_reached_per_s for turn in turns)}
            | paired_bar(rates, [point.allowance_per_s or 0.0 for point in points], _OF_ALLOWANCE, at_least=True),
            remarks=[
                (
                    f"{_CALLERS} callers in a closed loop by {generator.name}; "
                    f"the bar is of the allowance, in {plan.turns} turns"
                )
            ],
        )

    record("large", run)


def test_rate_of_large_tensors_in_shared_memory(
    generator: Generator, plan: Plan, record: Recorder, folder: Callable[[], Path]
) -> None:
    """How many images a second are read where their caller has put them?"""
    if not FOLDER.is_dir():
        pytest.skip(f"POSIX shared memory: this system has no {FOLDER}")

    def run() -> Findings:
        case = make("image", folder())
        (image,) = ModelInferRequest.FromString(case.request).raw_input_contents
        message = named(case.request, len(image))
        with serving(case.repository, settings={"allow_client_shm": True}) as server, region(server.address, image):
            sent, answer = (fetch_answer(server.address, one) for one in (case.request, message))
            ReferenceModel(case).check(sent)
            if sent != answer:
                raise WrongAnswer("an image in shared memory is answered otherwise than the same image sent")
            points: list[Point] = [
                replace(
                    closed(
                        generator, server, one, len(answer), callers=_CALLERS, seconds=plan.load_s / 2, model=case.name
                    ),
                    label=label,
                )
                for label, one in (("in", case.request), ("shared-memory", message))
            ]
        gain = points[1].rate_reached_per_s / points[0].rate_reached_per_s
        return Findings(
            points=points,
            figures={"gain": gain},
            remarks=[f"{gain:.1f} times the rate of sending it; the image lies there all the time"],
        )

    record("large", run)
