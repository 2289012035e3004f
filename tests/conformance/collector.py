"""A plugin of pytest that turns the outcomes of tests into lines of the table. Runs and prints nothing."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.conformance.clients import CLIENTS, client_of
from tests.conformance.table import LINE, WHAT, Line

if TYPE_CHECKING:
    import pytest

    from tests.conformance.clients import Client

__all__ = ["Collector"]


@dataclass(slots=True)
class _Tally:
    """How one thing went that was tried, over all its parameters."""

    client: Client
    what: str
    passed: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)


class Collector:
    """One line for each test function, named as it is; or by what the test says of itself, see table.py."""

    def __init__(self) -> None:
        self._about: dict[str, tuple[Client, str]] = {}
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._recorded: list[Line] = []

    def lines(self) -> list[Line]:
        """What has come out so far, in the order of the clients and of their tests."""
        lines = [*self._recorded, *(_line(tally) for tally in self._tallies.values())]
        order = [client.name for client in CLIENTS]
        return sorted(lines, key=lambda line: order.index(line.client))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Pytest's hook: what each test is about."""
        for item in items:
            client = client_of(item.nodeid.partition("::")[0])
            if client is not None:
                self._about[item.nodeid] = client, _sentence(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pytest's hook: how a part of a test went."""
        if report.nodeid not in self._about or (report.passed and report.when != "call"):
            return
        client, sentence = self._about[report.nodeid]
        own = [value for name, value in report.user_properties if name == LINE and isinstance(value, Line)]
        if own and report.when == "call":
            self._recorded += own
            return
        what = next((str(value) for name, value in report.user_properties if name == WHAT), sentence)
        key = report.nodeid.partition("[")[0], what
        tally = self._tallies.setdefault(key, _Tally(client=client, what=what))
        if report.failed:
            tally.failed += 1
            tally.problems[_last_line(report)] = None
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            reason = reason.removeprefix("Skipped: ")
            tally.reasons[reason] = tally.reasons.get(reason, 0) + 1
        else:
            tally.passed += 1


def _line(tally: _Tally) -> Line:
    return Line(
        client=tally.client.name,
        version=tally.client.version,
        what=tally.what,
        passed=tally.passed,
        failed=tally.failed,
        skipped=sum(tally.reasons.values()),
        reason="; ".join([*tally.problems, *tally.reasons]),
    )


def _sentence(item: pytest.Item) -> str:
    """The name of a test as words: the names of this project's tests state facts."""
    function: Any = getattr(item, "function", None)
    name = function.__name__ if inspect.isfunction(function) else item.name
    return name.removeprefix("test_").replace("_", " ")


def _last_line(report: pytest.TestReport) -> str:
    """What is said of a failure in one line."""
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr)
    return (text.strip().splitlines() or ["failed"])[0][:200]
