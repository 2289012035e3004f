"""The README's figures and the page behind them: what is kept of a run, and what is written of it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.bars import BY_CONSTRUCTION, Bar, Outcome
from bench.report.archive import Bars, NotAResult, compact, load_archived, name_of
from bench.report.headline import headline
from bench.report.prose import prose
from bench.report.readme import BEGIN, END, main, put
from bench.report.verdicts import State, verdicts
from bench.store import Run
from tests.bench.report.synthetic import HOSTILE, run

RUN = run()
BARS: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef",
    "changed_files": 3,
    "command": ["python", "-m", "bench.core", "--turns", "3"],
    "seed": 1,
    "python": "3.11.7",
    "versions": {"grpcio": "1.85.1", "magika": ""},
    "cpu": "A processor",
    "system": "Linux of somebody",
    "generator": "h2load",
    "cores": 2,
    "turns": 3,
    "seconds": 0.8,
    "outcomes": [
        Outcome(bar=Bar(name="rate", target=0.8), values=[0.91234567, 0.9, 0.93], remark="fine").as_json(),
        Outcome(
            bar=Bar(name="memory", target=150, at_least=False, unit="MB"), values=[200.0], remark="a | <b>"
        ).as_json(),
        Outcome(bar=Bar(name="shy", target=1, slack=0.03), values=[], remark="CaseMissing: no package").as_json(),
        Outcome(bar=Bar(name="far", target=0.8), values=[0.2], remark="why").as_json(),
    ],
}


def test_bars_become_a_table_with_losing_cases_first() -> None:
    """The farthest from its bar at the top; what could not be measured before what is met; remarks of both below."""
    text = prose(load_archived(BARS))
    assert [line for line in text.splitlines() if line.startswith("|")] == [
        "| compared, in one run | bar | reached |",
        "| --- | --- | --- |",
        "| far | at least 0.8 | **0.200** |",
        "| memory | at most 150 MB | **200 MB** |",
        "| shy | at least 1, less 3 % for noise | not measured |",
        "| rate | at least 0.8 | 0.912 (0.877 .. 0.952) |",
    ]
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        "- far: why",
        "- memory: a \\| &lt;b>",
        "- shy: CaseMissing: no package",
    ]


def test_the_text_says_where_and_how_it_was_measured() -> None:
    """Date, commit, changes, processor, cores, generator, versions, turns."""
    first = " ".join(prose(load_archived(BARS)).partition("\n\n")[0].split())
    assert first == (
        "`make bench-core`, 2026-01-02, commit `0123456789` with 3 changed files: A processor, 2 cores shared by "
        "servers and callers (h2load); Python 3.11.7, grpcio 1.85.1. 3 turns of about 0.8 s for each arm; median "
        "of the turns (95 % interval). What misses its bar comes first."
    )


def test_a_bar_that_only_the_middle_of_the_turns_meets_is_not_proven() -> None:
    """It stands between what is missed and what is met, with its remark."""
    doubtful = Outcome(bar=Bar(name="doubtful", target=0.8), values=[0.7, 0.9, 1.0], remark="few turns")
    assert doubtful.verdict == "not proven"
    text = prose(load_archived({**BARS, "outcomes": [doubtful.as_json()]}))
    assert "| doubtful | at least 0.8 | 0.900 (0.544 .. 1.35), not proven |" in text
    assert "- doubtful: few turns" in text


def test_a_bar_that_is_met_by_construction_says_so() -> None:
    """Nothing was measured there, and a bare 1.00 would look as if it had been."""
    one = {**BARS["outcomes"][0], "values": [1.0], "target": 1.0, "remark": f"{BY_CONSTRUCTION}: it does not batch"}
    assert "| 1.00, by construction |" in prose(load_archived({**BARS, "outcomes": [one]}))


def test_what_is_kept_says_the_same() -> None:
    """The small form of bars and of a run: the same text, and nothing but numbers in six digits."""
    for data in (BARS, RUN.as_json()):
        again = compact(load_archived(data))
        assert prose(load_archived(json.loads(again))) == prose(load_archived(data))
        assert compact(load_archived(json.loads(again))) == again
    assert "Linux of somebody" not in compact(load_archived(BARS))
    assert "0.912346" in compact(load_archived(BARS))
    assert "0.9123456" not in compact(load_archived(BARS))


def test_where_a_file_lay_is_not_kept() -> None:
    """A place on somebody's machine."""
    told = replace(RUN, command="python -m bench.suite --quick --json /home/somebody/run.json --seed 1").as_json()
    assert "`python -m bench.suite --quick --seed 1`" in prose(load_archived(told))
    bars = {**BARS, "command": ["python", "-m", "bench.core", "--json", "/home/somebody/run.json"]}
    assert "somebody" not in compact(load_archived(told)) + compact(load_archived(bars))


def test_peers_are_one_line_each() -> None:
    """The range of all comparisons with each, whatever came of them; losing ones follow one by one."""
    lines = prose(RUN).splitlines()
    begin = lines.index("| beside | rate: Sardonyx / it | p99: Sardonyx / it | bars met |")
    assert sorted(lines[begin + 2 : begin + 5]) == [
        "| kserve | not measured | not measured | 0 of 1 |",
        "| mlserver | 15.4 | not measured | 0 of 1 |",
        "| triton | not measured | 0.610 | 0 of 1 |",
    ]


def test_each_model_beside_each_peer_says_its_commit() -> None:
    """That of its own piece, else the run's; ratios with their intervals, the lower rate first."""
    pieces = [replace(one, commit="fedcba9876543210" * (one.server == "triton")) for one in RUN.benchmarks]
    text = prose(replace(RUN, benchmarks=pieces))
    begin = text.index("<summary>Each of them on each model</summary>")
    assert [line for line in text[begin:].splitlines() if line.startswith("|")][2:5] == [
        "| kserve | iris | not measured | not measured | `0123456789` |",
        "| mlserver | iris | 15.4 (14.2 .. 16.1) | not measured | `0123456789` |",
        "| triton | iris | not measured | 0.610 (0.550 .. 0.700) | `fedcba9876` |",
    ]
    assert "2 commits, the last `0123456789`, on A processor" in " ".join(text.split())
    assert "commit `0123456789` on A processor" in " ".join(prose(RUN).split())


def test_rows_of_several_processors_say_which() -> None:
    """In every table, and the paragraph above them names all; where there is one, no row has a column for it."""
    pieces = [replace(one, cpu="Another" * (one.server in {"triton", "sardonyx"})) for one in RUN.benchmarks]
    run = replace(RUN, command="make bench-peers", benchmarks=pieces)
    text = prose(run)
    assert "on 2 processors (A processor of tests; Another), 2 cores" in " ".join(text.split())
    assert "`make bench-peers` on 2 processors (A processor of tests; Another), 2" in " ".join(headline([run]).split())
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    assert {row[0]: row[-1] for row in rows if row[0] in {"triton", "mlserver", "beside", "compared, in one run"}} == {
        "triton": "Another",
        "mlserver": "A processor of tests",
        "beside": "processor",
        "compared, in one run": "processor",
    }
    assert {row[-1] for row in rows if row[2] == "mlserver"} == {"A processor of tests"}
    assert {row[-1] for row in rows if row[2] == "sardonyx"} == {"Another"}
    assert "processor |" not in prose(RUN)
    assert "2 processors" not in headline([RUN])


def test_each_model_of_a_server_says_on_which_processor_it_was_measured() -> None:
    """The server's own line is over all of them, and names none."""
    (one,) = [one for one in RUN.benchmarks if one.server == "triton" and "ratio" in one.figures]
    models = {"iris": "First", "mlp": "Second", "forest": "First"}
    pieces = [replace(one, name=f"test_p99[{name}]", model=name, cpu=cpu) for name, cpu in models.items()]
    text = prose(replace(RUN, benchmarks=pieces))
    assert "| triton | not measured | 0.610 .. 0.610 | 0 of 3 |\n" in text
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| triton | ")]
    assert {line[1]: line[-1] for line in lines[1:] if line[1] in models} == models


def test_commit_processor_and_load_are_kept_once() -> None:
    """Those of the run are not repeated with each of its figures, nor a load with each of its turns."""
    duel = [replace(one, commit=RUN.commit, cpu=RUN.cpu) for one in RUN.benchmarks if one.server == "triton"]
    other = [replace(one, commit="f" * 16, cpu="Another") for one in RUN.benchmarks if one.server == "mlserver"]
    run = replace(RUN, command="make bench-peers", benchmarks=[*duel, *other])
    text = compact(run)
    assert (text.count(RUN.commit), text.count(RUN.cpu)) == (1, 1)
    assert (text.count("f" * 16), text.count("Another")) == (len(other), len(other))
    for one in json.loads(text)["benchmarks"]:
        loads = [point.get("load") for point in one["extra_info"]["points"]]
        assert loads[0] is not None
        assert all(load is None or load != before for before, load in pairwise(loads))
        assert None in loads
    again = load_archived(json.loads(text))
    assert isinstance(again, Run)
    assert [[point.load.rate_per_s for point in one.points] for one in again.benchmarks] == [
        [point.load.rate_per_s for point in one.points] for one in run.benchmarks
    ]
    assert prose(again) == prose(load_archived(run.as_json()))


def test_a_remark_is_kept_once() -> None:
    """Settings are the same for all loads of a peer; the reason why nothing was measured stays with each of them."""
    duel = [
        replace(one, remarks=("at its best",)) for one in RUN.benchmarks if one.figures and one.server != "sardonyx"
    ]
    missing = [replace(one, name=f"{one.name}{n}") for one in RUN.benchmarks if one.server == "kserve" for n in (1, 2)]
    again = load_archived(json.loads(compact(replace(RUN, command="make bench-peers", benchmarks=[*duel, *missing]))))
    assert isinstance(again, Run)
    reason = ("PeerMissing: kserve cannot be installed here",)
    assert [tuple(one.remarks) for one in again.benchmarks] == [("at its best",), (), reason, reason]


def test_the_small_form_of_a_run_is_small() -> None:
    """No histograms."""
    assert len(compact(RUN)) < len(json.dumps(RUN.as_json())) / 3
    assert "histogram" not in compact(RUN)


def test_a_run_becomes_tables() -> None:
    """Latencies of our own server, then bars that are missed, then those that are met."""
    text = prose(RUN)
    points = {point.load.share_of_capacity: point for point in RUN.benchmarks[0].points}
    half, judged = points[0.5], points[0.7]
    cells = next(line for line in text.splitlines() if line.startswith("| iris | 20,000/s")).split(" | ")
    assert [float(word) for word in cells[2].removesuffix(" ms").split(" / ")] == pytest.approx(
        [half.p50_ms, half.p99_ms], rel=5e-3
    )
    assert float(cells[3].split(" / ")[1].removesuffix(" ms")) == pytest.approx(judged.p99_ms, rel=5e-3)
    assert text.index("**1.40**") < text.index("<details>") < text.index("requests lost in a reload")
    assert "15.4 (14.2 .. 16.1), not proven" in text
    assert HOSTILE not in text


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("make bench", "suite"),
        ("make bench-quick", "suite"),
        ("make bench ARGS='--only x'", "suite"),
        ("make bench-peers", "peers"),
        ("python -m bench.peers --only triton", "peers"),
        ("", "suite"),
    ],
)
def test_runs_are_told_apart_by_their_command(command: str, name: str) -> None:
    """Each kind is kept once."""
    assert name_of(Run(command=command)) == name
    assert name_of(Bars.from_json(BARS)) == "core"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"a": 1}, r"expected a results file with 'outcomes' or 'benchmarks', got the keys \['a'\]"),
        ({"outcomes": [{}]}, "expected a results file of make bench; KeyError: 'bar'"),
    ],
)
def test_other_files_are_refused(data: dict[str, Any], told: str) -> None:
    """With what was expected."""
    with pytest.raises(NotAResult, match=told):
        load_archived(data)


def test_the_section_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    """Twice gives the same; a run takes the place of the last of its kind."""
    readme, page, runs, file = (tmp_path / name for name in ("README.md", "page.md", "runs", "result.json"))
    for document in (readme, page):
        document.write_text(f"before\n{BEGIN}old{END}after\n")
    bars = Bars.from_json({**BARS, "cores": 64})
    for data in (BARS, {**BARS, "cores": 64}, RUN.as_json()):
        file.write_text(json.dumps(data))
        assert main([str(file)], readme=readme, page=page, runs=runs) == 0
    written = readme.read_text(), page.read_text()
    assert written == (
        f"before\n{BEGIN}\n{headline([RUN, bars])}\n{END}after\n",
        f"before\n{BEGIN}\n{prose(RUN)}\n{prose(bars)}\n{END}after\n",
    )
    assert sorted(one.name for one in runs.iterdir()) == ["core.json", "suite.json"]
    assert main([], readme=readme, page=page, runs=runs) == 0
    assert (readme.read_text(), page.read_text()) == written


def test_the_figures_have_no_verdict_but_count_what_is_not_met() -> None:
    """Latencies and other servers as on the page; of each kind of run how many bars are missed or not proven."""
    text = " ".join(headline([RUN, Bars.from_json(BARS)]).split())
    tables = [line for line in headline([RUN]).splitlines() if line.startswith("|")]
    assert set(tables) <= set(prose(RUN).splitlines())
    assert any(line.startswith("| iris | 20,000/s") for line in tables)
    judged = verdicts(RUN)
    lost = sum(one.state != State.MET for one in judged)
    assert lost > 0
    counted = (
        f"{lost} of the {len(judged)} bars of `make bench` and 3 of the 4 bars of `make bench-core` are missed, or"
    )
    assert counted in text
    assert text.endswith("[Performance](docs/performance.md) has all of them, those that are missed first.")
    assert headline([]) == ""


def test_a_document_without_marks_is_refused() -> None:
    """Rather than written over."""
    with pytest.raises(NotAResult, match="expected the marks"):
        put("no marks", "text")


def test_a_quick_run_is_called_so() -> None:
    """Its numbers are for orientation."""
    assert "It was a quick run" in prose(replace(RUN, quick=True))
    assert "It was a quick run" not in prose(RUN)
