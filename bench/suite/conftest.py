"""Fixtures and options of the suite, and what it adds to pytest-benchmark's file. ``python -m bench.suite`` runs it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.cases import CaseMissing
from bench.environment import run_fields
from bench.load.result import Generator
from bench.store import Benchmark
from bench.suite import closed_loop, deployment
from bench.suite.findings import Findings, Recorder, store
from bench.suite.plan import FULL, MODELS, QUICK, QUICK_MODELS, Plan

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of ``python -m bench.suite``, which sets them."""
    group = parser.getgroup("suite")
    group.addoption("--quick", action="store_true", help="fewer points, shorter loads")
    group.addoption("--soak-s", type=float, default=0.0, help="only the soak, for so long")
    group.addoption("--generators", action="store_true", help="only the check of the generator")
    group.addoption("--only", action="append", default=[], help="only benchmarks whose name holds this text")
    group.addoption("--seed", type=int, default=0, help="of arrivals")
    group.addoption("--told", default="", help="the command as it was typed")


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers."""
    config.addinivalue_line("markers", "of_models(*names): which models this is asked of; default: all")
    config.addinivalue_line("markers", "soak: takes half an hour")
    config.addinivalue_line("markers", "generators: checks the generator, not the server")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One benchmark for each model."""
    if "model" in metafunc.fixturenames:
        models = QUICK_MODELS if metafunc.config.getoption("--quick") else MODELS
        marker = metafunc.definition.get_closest_marker("of_models")
        chosen = models if marker is None else [one for one in marker.args if one in models] or marker.args[:1]
        metafunc.parametrize("model", chosen, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select benchmarks; the soak and the generator check run only on their own."""
    only = config.getoption("--only")
    kinds = {"soak": bool(config.getoption("--soak-s")), "generators": config.getoption("--generators")}
    kept = [item for item in items if all(bool(item.get_closest_marker(kind)) == on for kind, on in kinds.items())]
    kept = [item for item in kept if not only or any(text in item.nodeid for text in only)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.hookimpl(trylast=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """What :class:`bench.store.Run` holds beside the benchmarks."""
    quick = bool(config.getoption("--quick"))
    output_json["sardonyx"] = run_fields(config.getoption("--told"), seed=config.getoption("--seed"), quick=quick)


@pytest.hookimpl(trylast=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Results name no host."""
    machine_info.pop("node", None)


@pytest.fixture(scope="session")
def plan(pytestconfig: pytest.Config) -> Plan:
    """How thoroughly to measure."""
    depth = QUICK if pytestconfig.getoption("--quick") else FULL
    soak_s = pytestconfig.getoption("--soak-s") or depth.soak_s
    return replace(depth, seed=pytestconfig.getoption("--seed"), soak_s=soak_s)


@pytest.fixture(scope="session")
def generator() -> Generator:
    """What sends closed loops."""
    return closed_loop.generator()


@pytest.fixture(scope="session")
def deployed(model: str, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[deployment.Deployment]:
    """A model under measurement; one at a time is up."""
    _say(f"serving {model}, and measuring its runs in-process")
    try:
        with deployment.deploy(model, tmp_path_factory.mktemp("models"), plan) as one:
            yield one
    except CaseMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def capacity(deployed: deployment.Deployment, plan: Plan) -> float:
    """Requests a second that the server answers as they come; found once for each model."""
    found = deployment.capacity_per_s(deployed.target, plan)
    _say(f"capacity {found:,.0f}/s")
    return found


@pytest.fixture
def record(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Recorder:
    """Measures what a test asks, and stores it with its question, which is the test's docstring."""
    name = request.node.name
    model = request.node.callspec.params.get("model", "") if hasattr(request.node, "callspec") else ""
    question = (request.function.__doc__ or "").strip().splitlines()[0]

    def measure_and_store(scenario: str, run: Callable[[], Findings]) -> None:
        began_s = time.monotonic()
        command = f"make bench ARGS='--only {json.dumps(name)}'"
        empty = Benchmark(name=name, scenario=scenario, question=question, model=model, command=command)
        store(benchmark, run, empty)
        _say(f"{question} ({time.monotonic() - began_s:.1f} s)")

    return measure_and_store


@pytest.fixture(scope="session")
def say() -> Callable[[str], None]:
    """Prints progress."""
    return _say


def _say(words: str) -> None:
    print(f"    {words}", file=sys.stderr, flush=True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """New folders for repositories."""
    return lambda: tmp_path_factory.mktemp("repository")
