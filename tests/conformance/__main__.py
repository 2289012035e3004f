"""`make conformance`: install the clients, run what is tested with each, print one table.

    python -m tests.conformance [--only CLIENT] [--no-install] [-- FLAGS OF PYTEST]

Ends with status 0 where nothing failed, 1 where something did.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

import pytest
from rich.console import Console

from tests.conformance.clients import CLIENTS, NOT_TRIED, paths
from tests.conformance.collector import Collector
from tests.conformance.table import WIDTH, Line, exit_code, render
from tests.conformance.tools import ToolMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.clients import Client

_PURPOSE: Final = "Run every client there is against the server, and print one table."


def main(arguments: Sequence[str]) -> int:
    """Run it all; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Run every client there is against the server, and print one table.",
    )
    parser.add_argument("--only", action="append", choices=[client.name for client in CLIENTS], help="this client")
    parser.add_argument("--no-install", action="store_true", help="skip clients that are not installed")
    parser.add_argument("pytest", nargs="*", help="flags for pytest, after --")
    asked = parser.parse_args(arguments)
    chosen = tuple(client for client in CLIENTS if not asked.only or client.name in asked.only)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    missing = [] if asked.no_install else _install(chosen, console)
    names = {line.client for line in missing}
    collector = Collector()
    tried = tuple(client for client in chosen if client.name not in names)
    status = pytest.main(["--quiet", *asked.pytest, *paths(tried)], plugins=[collector])
    lines = [*collector.lines(), *missing, *(() if asked.only else NOT_TRIED)]
    console.print(render(lines))
    # Pytest's own word counts too: a test that cannot be collected is in no line.
    return max(exit_code(lines), int(status not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}))


def _install(clients: Sequence[Client], console: Console) -> list[Line]:
    """Lines of the clients that cannot be had."""
    missing = []
    for client in clients:
        if client.tool is None:
            continue
        if not client.tool.is_there:
            console.print(f"installing {client.name} {client.version}")
        try:
            client.tool.install()
        except ToolMissing as error:
            missing.append(
                Line(client=client.name, version=client.version, what="not installed", skipped=1, reason=str(error))
            )
    return missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
