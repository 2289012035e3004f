"""Which clients are tried, and by which tests; among them our own, with servers of others. Runs nothing.

A new client is a new entry here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from tests.conformance.table import Line
from tests.conformance.tools import GRPC_JS, KSERVE, MLSERVER, PERF_ANALYZER, ROOT

if TYPE_CHECKING:
    from tests.conformance.tools import Tool

__all__ = ["CLIENTS", "NOT_TRIED", "Client", "client_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Someone who talks to the server.

    Attributes:
        name: As its users know it.
        version: Which one is tried.
        tests: Files of tests, from the project's root.
        tool: What has to be installed first; None where the locked environment has it.
    """

    name: str
    version: str
    tests: tuple[str, ...]
    tool: Tool | None = None


CLIENTS: Final = (
    Client(
        name="ONNX node tests",
        version=f"onnx {version('onnx')}, onnxruntime {version('onnxruntime')}",
        tests=("tests/conformance/test_onnx_nodes.py",),
    ),
    Client(
        name="tritonclient",
        version=version("tritonclient"),
        tests=(
            "tests/e2e/test_tritonclient.py",
            "tests/e2e/test_triton_methods.py",
            "tests/e2e/test_triton_ways.py",
        ),
    ),
    Client(name="kserve", version=KSERVE.version, tests=("tests/conformance/test_kserve.py",), tool=KSERVE),
    Client(
        name="our client, kserve's server",
        version=KSERVE.version,
        tests=("tests/conformance/test_kserve_server.py",),
        tool=KSERVE,
    ),
    Client(
        name="our client, MLServer",
        version=MLSERVER.version,
        tests=("tests/conformance/test_mlserver.py",),
        tool=MLSERVER,
    ),
    Client(name="grpc_tools stubs", version=version("grpcio-tools"), tests=("tests/e2e/test_stubs.py",)),
    Client(name=GRPC_JS.name, version=GRPC_JS.version, tests=("tests/conformance/test_grpc_js.py",), tool=GRPC_JS),
    Client(
        name=PERF_ANALYZER.name,
        version=PERF_ANALYZER.version,
        tests=("tests/conformance/test_perf_analyzer.py",),
        tool=PERF_ANALYZER,
    ),
)
"""In the order of the table."""

NOT_TRIED: Final = (
    Line(
        client="perf_analyzer",
        version="after 2.45.0",
        what="not tried",
        skipped=1,
        reason="needs glibc 2.38, which the Debian that the tests run on does not have",
    ),
    Line(
        client="tritonclient for C++",
        what="not tried by itself",
        skipped=1,
        reason="no package registry has it; perf_analyzer is built with it",
    ),
)
"""Clients that cannot be had, and why."""


def client_of(path: str) -> Client | None:
    """Whose test lies at this path from the project's root."""
    return next((client for client in CLIENTS if path in client.tests), None)


def paths(clients: tuple[Client, ...]) -> list[str]:
    """Their test files."""
    return [str(ROOT / path) for client in clients for path in client.tests]
