"""What comes of the outcomes of tests: lines, sums, the exit status."""

from __future__ import annotations

from typing import Any, Final

import pytest
from rich.console import Console

from tests.conformance.clients import CLIENTS, client_of
from tests.conformance.collector import Collector
from tests.conformance.table import LINE, WHAT, Line, exit_code, render
from tests.conformance.tools import ROOT

KSERVE_TESTS: Final = "tests/conformance/test_kserve.py"


class FakeItem:
    """What the collector asks of a pytest.Item."""

    def __init__(self, nodeid: str, name: str) -> None:
        self.nodeid = nodeid
        self.name = name


def report(nodeid: str, outcome: Any, when: Any = "call", *, reason: Any = None, **properties: object) -> Any:
    """What pytest tells of a part of a test."""
    names = {"line": LINE, "what": WHAT}
    return pytest.TestReport(
        nodeid=nodeid,
        location=("", 0, ""),
        keywords={},
        outcome=outcome,
        longrepr=reason,
        when=when,
        user_properties=[(names[key], value) for key, value in properties.items()],
    )


def collected(*reports: Any) -> list[Line]:
    """Lines of these reports."""
    collector = Collector()
    names = dict.fromkeys(each.nodeid for each in reports)
    items: Any = [FakeItem(nodeid, nodeid.partition("::")[2].partition("[")[0]) for nodeid in names]
    collector.pytest_collection_modifyitems(items)
    for each in reports:
        collector.pytest_runtest_logreport(each)
    return collector.lines()


def test_a_line_sums_the_parameters_of_a_test() -> None:
    """And says why something was skipped or failed, each reason once."""
    test = f"{KSERVE_TESTS}::test_of_health"
    (line,) = collected(
        report(f"{test}[lane]", "passed", "setup"),
        report(f"{test}[lane]", "passed"),
        report(f"{test}[lane]", "passed", "teardown"),
        report(f"{test}[grpcio]", "skipped", reason=("file", 1, "Skipped: not there")),
        report(f"{test}[other]", "skipped", "setup", reason=("file", 1, "Skipped: not there")),
        report(f"{test}[bad]", "failed", reason="it was 3\nand so on"),
    )
    assert (line.client, line.what) == ("kserve", "of health")
    assert (line.passed, line.failed, line.skipped) == (1, 1, 2)
    assert line.reason == "it was 3; not there"


def test_a_test_says_what_it_tries() -> None:
    """Then its parameters have lines of their own."""
    test = f"{KSERVE_TESTS}::test_modes"
    lines = collected(
        report(f"{test}[a-lane]", "passed", what="mode a"),
        report(f"{test}[a-grpcio]", "passed", what="mode a"),
        report(f"{test}[b-lane]", "passed", what="mode b"),
    )
    assert [(line.what, line.passed) for line in lines] == [("mode a", 2), ("mode b", 1)]


def test_a_test_records_lines_of_its_own() -> None:
    """In place of the one for its outcome."""
    own = Line(client="kserve", what="1,599 cases", passed=1599)
    assert collected(report(f"{KSERVE_TESTS}::test_sweep", "passed", line=own)) == [own]


def test_an_error_outside_of_the_test_itself_is_a_failure() -> None:
    """A fixture that breaks on the way out, for example."""
    test = f"{KSERVE_TESTS}::test_of_health"
    (line,) = collected(report(test, "passed"), report(test, "failed", "teardown", reason="broken"))
    assert (line.passed, line.failed, line.reason) == (1, 1, "broken")


def test_tests_of_nobody_are_in_no_line() -> None:
    """The table is about clients."""
    assert not collected(report("tests/e2e/test_traps.py::test_nan", "passed"))


def test_every_client_has_its_tests() -> None:
    """Under the paths that the table says, and no two share one."""
    paths = [path for client in CLIENTS for path in client.tests]
    assert all((ROOT / path).is_file() for path in paths)
    assert len(paths) == len(set(paths))
    assert all(client_of(path) is not None for path in paths)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([Line(client="a", what="x", passed=1)], 0),
        ([Line(client="a", what="x", passed=1), Line(client="b", what="x", skipped=1, reason="not there")], 0),
        ([Line(client="a", what="x", passed=9), Line(client="b", what="x", failed=1)], 1),
        ([Line(client="a", what="x", skipped=1)], 1),
        ([], 1),
    ],
)
def test_the_exit_status(lines: list[Line], status: int) -> None:
    """A failure is one; so is a run in which nothing was tried."""
    assert exit_code(lines) == status


def test_the_table_names_each_client_once_and_sums_up() -> None:
    """As it is printed; what looks like markup is text."""
    lines = [
        Line(client="a", version="1.2", what="x[bold]", passed=3),
        Line(client="a", version="1.2", what="y", failed=1, reason="because"),
        Line(client="b", what="z", skipped=2, reason="not there"),
    ]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render(lines))
    printed = capture.get()
    assert printed.count("a 1.2") == 1
    assert all(word in printed for word in ("x[bold]", "because", "not there"))
    assert [word for word in printed.splitlines()[-2].split() if word.isdigit()] == ["3", "1", "2"]
