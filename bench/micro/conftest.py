"""Fixtures of the micro benchmarks: the requests they work on, and how one is measured and stored."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from bench.environment import run_fields
from bench.micro.measuring import COMMAND, Measure, measure
from bench.micro.workload import NAMES, Workload, workload

__all__: list[str] = []

# Long enough for a median of many rounds, short enough that all of them take seconds.
_MAX_TIME_S: Final = 0.25
_MIN_ROUNDS: Final = 20
_HERE: Final = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """How long each of them is timed."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.benchmark(max_time=_MAX_TIME_S, min_rounds=_MIN_ROUNDS, disable_gc=True))


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """What :class:`bench.store.Run` holds beside the benchmarks; as a part of the suite, that says it."""
    output_json.setdefault("sardonyx", run_fields(COMMAND, seed=0, quick=False))


@pytest.hookimpl(trylast=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Results name no host."""
    machine_info.pop("node", None)


@pytest.fixture(scope="session", params=NAMES)
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Each model's requests in turn."""
    return workload(request.param, tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Requests of iris, if the model makes no difference."""
    return workload("iris", tmp_path_factory.mktemp("repository"))


@pytest.fixture
def measured(benchmark: Any, request: pytest.FixtureRequest) -> Measure[Any]:
    """Measures a call; the question is the docstring of the test."""
    question = " ".join((request.function.__doc__ or "").split())
    return partial(measure, benchmark, request.node.name, question)
