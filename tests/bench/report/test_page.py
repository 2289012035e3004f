"""The page as text: what is on it and what is not. How it looks is for test_in_browser.py."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.control import ROOT
from bench.report.__main__ import main
from bench.report.drawing import drawings
from bench.report.history import Entry, read
from bench.report.merging import IncompatibleRuns, merge_runs
from bench.report.page import page, sections
from bench.report.plot import Lines
from bench.store import Run
from tests.bench.report.synthetic import HOSTILE, run

RUN = run()
PAST = [
    Entry(release="0.1.0", date="2026-01-01", machine="a", p99_ms={"iris at half load": 1.5}),
    Entry(release="0.2.0", date="2026-02-01", machine="a", p99_ms={"iris at half load": 1.2, "mlp at half load": 9.0}),
    Entry(release="0.2.0", date="2026-02-01", machine="b", p99_ms={"iris at half load": 0.7}),
]


def test_names_of_others_are_text() -> None:
    """A model that is called like markup makes none: not in HTML, not in SVG, not in an attribute."""
    text = page(RUN)
    assert "<script" not in text
    assert "alert('model')" not in re.sub(r">[^<]*<", "><", text)
    assert text.count("&lt;script&gt;") > 3


def test_drawings_are_well_formed_and_ids_unique() -> None:
    """Two drawings for each figure, with a title and a description that they point at."""
    figures = [figure for section in sections(RUN, PAST) for figure in section.figures if figure.plot]
    assert len(figures) > 8
    for figure in figures:
        for text in drawings(figure):
            root = ET.fromstring(text)  # noqa: S314  # our own
            named = {child.get("id"): child.text for child in root if child.tag in {"title", "desc"}}
            assert [named[one] for one in root.attrib["aria-labelledby"].split()] == [figure.title, figure.description]
    ids = re.findall(r'\bid="([^"]*)"', page(RUN, PAST))
    assert len(ids) == len(set(ids))


def test_pieces_of_several_commits_are_said_to_be() -> None:
    """A run that was taken over a day names the last commit, and that it is not the only one."""
    ours, *others = RUN.benchmarks
    pieces = replace(RUN, benchmarks=[replace(ours, commit="0" * 40), *others])
    assert f" · commit <code>{RUN.commit[:10]}</code>" in page(RUN)
    assert f" · 2 commits, the last <code>{RUN.commit[:10]}</code>" in page(pieces)


def test_pieces_of_several_processors_are_said_to_be() -> None:
    """Whoever compares two plots of them is to know."""
    ours, *others = RUN.benchmarks
    pieces = replace(RUN, benchmarks=[replace(ours, cpu="Another processor"), *others])
    assert f"· {RUN.cpu}, 2 cores" in page(RUN)
    assert f"· 2 processors ({RUN.cpu}; Another processor), 2 cores" in page(pieces)


def test_nothing_is_fetched() -> None:
    """No address, no import, no link to another file."""
    text = page(RUN, PAST)
    assert re.findall(r"(?:href|src)=\"(?!#)", text) == []
    assert "http" not in text
    assert "url(" not in text


@pytest.mark.parametrize(
    ("section", "scenarios", "command"),
    [
        ("latency", {"ladder"}, "--only test_p99_at_half_load"),
        ("throughput", {"closed"}, "--only test_rate_of_1_to_64_callers"),
        ("overload", {"overload"}, "--only test_goodput_at_five_times_capacity"),
        ("reload", {"reload"}, "--only test_p99_during_reload"),
    ],
)
def test_what_was_not_run_leaves_a_line(section: str, scenarios: set[str], command: str) -> None:
    """With its command and no figure; with the scenario there, no such line."""
    without = replace(RUN, benchmarks=[one for one in RUN.benchmarks if one.scenario not in scenarios])
    (absent,) = [one for one in sections(without) if one.key == section]
    (present,) = [one for one in sections(RUN) if one.key == section]
    assert not absent.figures
    assert command in absent.missing
    assert (present.missing, bool(present.figures)) == ("", True)


def test_an_empty_run_has_a_page() -> None:
    """It says that nothing was compared."""
    assert "Nothing in this run is compared with a bar." in page(Run())


def test_machines_do_not_share_a_plot() -> None:
    """Of the history; a benchmark that a release did not have leaves a gap."""
    (section,) = [one for one in sections(RUN, PAST) if one.key == "history"]
    assert [figure.title for figure in section.figures] == ["a: p99 over releases", "b: p99 over releases"]
    assert [row.cells for row in section.figures[0].table.rows] == [
        ("0.1.0 2026-01-01", "1.50 ms", "-"),
        ("0.2.0 2026-02-01", "1.20 ms", "9.00 ms"),
    ]


def test_history_is_read_from_the_oldest(tmp_path: Path) -> None:
    """From the files of a folder; a line that is no JSON is named."""
    lines = [json.dumps({"release": name, "date": date, "p99_ms": {"x": 1}}) for name, date in (("2", "b"), ("1", "a"))]
    (tmp_path / "releases.jsonl").write_text("\n".join([*lines, ""]))
    assert [entry.release for entry in read([tmp_path])] == ["1", "2"]
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n{")
    with pytest.raises(ValueError, match=re.escape(f"{broken}, line 2: expected JSON, got")):
        read([broken])


def test_runs_of_different_machines_are_not_put_together() -> None:
    """Nothing in them could be compared."""
    with pytest.raises(
        IncompatibleRuns, match="expected runs of one commit and one machine; cores: 2 of 'make bench' and 8"
    ):
        merge_runs([RUN, replace(RUN, cores=8)])
    both = merge_runs([RUN, replace(RUN, benchmarks=[], command="make bench-peers", started="2026-01-01")])
    assert (both.command, both.started) == ("make bench; make bench-peers", "2026-01-01")
    assert len(both.benchmarks) == len(RUN.benchmarks)


def test_the_command_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the run."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps(RUN.as_json()))
    assert main([str(file), "--history", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"page: {tmp_path / 'run.html'}\n"
    assert HOSTILE not in (tmp_path / "run.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "Expecting property name"),
        ("{}", "expected stored runs of make bench; KeyError: 'benchmarks'"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_run_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    """Status 2, a message, no page."""
    file = tmp_path / "run.json"
    if content is not None:
        file.write_text(content)
    assert main([str(file)]) == 2
    assert told in capsys.readouterr().err
    assert not file.with_suffix(".html").exists()


def test_our_server_beside_another_is_a_line_of_its_own() -> None:
    """It had to share its cores with a server that was up: that is another load than by itself."""
    lines = {
        key: [line.name for line in figure.plot.lines]
        for section in sections(RUN)
        for figure in section.figures
        if isinstance(figure.plot, Lines) and (key := figure.key)
    }
    assert lines["throughput-iris"] == ["mlserver", "sardonyx allowance", "sardonyx", "sardonyx beside another"]
    assert [name for name in lines["latency-iris"] if name.endswith("p99")] == [
        "triton p99",
        "sardonyx floor of p99",
        "sardonyx p99",
    ]
    assert "sardonyx p99 beside another" in lines["latency-iris"]


def test_the_commands_of_absent_parts_name_benchmarks_that_exist() -> None:
    """Of the suite, as they stand in its files."""
    suite = "\n".join(file.read_text("utf-8") for file in (ROOT / "bench" / "suite").glob("test_*.py"))
    named = [found[1] for section in sections(Run()) if (found := re.search(r"--only (\w+)", section.missing))]
    assert len(named) == 10
    assert [name for name in named if f"def {name}(" not in suite] == []
