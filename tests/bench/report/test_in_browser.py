"""A page of a made-up run as Chromium shows it: on a phone, on a desk, in light and in dark."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import combinations
from statistics import median
from typing import Any

import pytest

from bench.report.page import page
from bench.report.points import identifier
from bench.store import Benchmark
from tests.bench.report.browser import Frame, chromium, look
from tests.bench.report.synthetic import HOSTILE, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed (Debian's package chromium)"),
]

RUN = run()
# In the order in which the table of iris has them.
IRIS = ("test_p99_at_half_load[iris]", "test_p99_beside[triton-iris-sardonyx]", "test_p99_beside[triton-iris]")
PHONE, DESK, DARK = "phone", "desk", "dark"
FRAMES = (
    Frame(name=PHONE, width=360),
    Frame(name=DESK, width=1200),
    Frame(name=DARK, width=1200, scheme="dark"),
)
_UNITS = {"µs": 1e-3, "ms": 1.0, "s": 1e3}
# WCAG 2.1, 1.4.3: text of ordinary size.
_LEAST_CONTRAST = 4.5
_LEAST_LETTER_PX = 10.5
# Marks are placed to a tenth of a unit of the drawing.
_PLACE_PX = 0.7


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Name of a frame -> what is to be seen in it."""
    return look(page(RUN), FRAMES, tmp_path_factory.mktemp("chromium"))


def of(name: str) -> Benchmark:
    """The benchmark of the run."""
    return next(one for one in RUN.benchmarks if one.name == name)


def middle(place: dict[str, float]) -> tuple[float, float]:
    """Of a box."""
    return (place["left"] + place["right"]) / 2, (place["top"] + place["bottom"]) / 2


def latency_ms(words: str) -> float:
    """``200 µs`` of an axis."""
    number, unit = words.split()
    return float(number) * _UNITS[unit]


def rate_per_s(words: str) -> float:
    """``10k`` of an axis."""
    return float(words.removesuffix("k")) * (1e3 if words.endswith("k") else 1)


def on_axis(value: float, ticks: list[tuple[float, float]], straight: Callable[[float], float]) -> float:
    """The pixel of a value, by the first and the last of the ticks (value, pixel)."""
    (low, begin), (high, end) = ticks[0], ticks[-1]
    share = (straight(value) - straight(low)) / (straight(high) - straight(low))
    return begin + share * (end - begin)


@pytest.mark.parametrize("frame", [PHONE, DESK])
def test_marks_stand_at_the_values_of_the_run(seen: dict[str, Any], frame: str) -> None:
    """Each p99 of iris on each server, read off the axes with a ruler."""
    (drawing,) = seen[frame]["figures"][identifier("latency", "iris")]["drawings"]
    xs = [(rate_per_s(tick["text"]), middle(tick)[0]) for tick in drawing["x"]]
    ys = [(latency_ms(tick["text"]), middle(tick)[1]) for tick in drawing["y"]]
    ladder, duel = of("test_p99_at_half_load[iris]"), of("test_p99_beside[triton-iris]")
    own = [(point.load.rate_per_s or 0.0, point.p99_ms) for point in ladder.points]
    # Three repeats at each rate, of which the last one is invalid: two medians, and that one by itself.
    theirs = [(point.load.rate_per_s or 0.0, point.p99_ms) for point in duel.points]
    rates, heights = zip(*theirs, strict=True)
    repeats = [(rates[0], median(heights[:3])), (rates[3], median(heights[3:5])), theirs[5]]
    for line, expected in (("sardonyx p99", own), ("triton p99", repeats)):
        marks = [middle(mark) for mark in drawing["lines"][line]]
        assert len(marks) == len(expected)
        for (x, y), (rate, p99_ms) in zip(marks, expected, strict=True):
            assert x == pytest.approx(on_axis(rate, xs, float), abs=_PLACE_PX)
            assert y == pytest.approx(on_axis(p99_ms, ys, math.log), abs=_PLACE_PX)


def test_bars_are_as_long_as_the_stages_took(seen: dict[str, Any]) -> None:
    """Widths are in the ratio of the run's own microseconds."""
    (drawing,) = seen[DESK]["figures"][identifier("stages", "iris")]["drawings"]
    stages = list((of("test_p99_at_half_load[iris]").points[-1].stages_us or {}).values())
    parts = drawing["bars"][-1]["parts"]
    widths = [part["right"] - part["left"] for part in parts]
    whole, whole_px = sum(stages), sum(widths)
    for stage, width in zip(stages, widths, strict=True):
        assert width / whole_px == pytest.approx(stage / whole, abs=0.01)
    assert [bar["reading"].partition(",")[0] for bar in drawing["bars"]][-1] == f"{whole / 1e3:.3g} ms"


def test_the_table_of_values_has_those_of_the_run(seen: dict[str, Any]) -> None:
    """Three digits of p50 and p99, and the rate."""
    rows = seen[PHONE]["figures"][identifier("latency", "iris")]["rows"]
    head, first = rows[0], rows[1]
    points = [point for name in IRIS for point in of(name).points]
    point = points[0]
    cells = dict(zip(head, first, strict=True))
    assert cells["server"] == "sardonyx"
    assert cells["load"] == "2,000/s (10 % of capacity)"
    assert float(cells["p50"].removesuffix(" ms")) == pytest.approx(point.p50_ms, rel=5e-3)
    assert float(cells["p99"].removesuffix(" ms")) == pytest.approx(point.p99_ms, rel=5e-3)
    assert len(rows) == 1 + len(points)


def test_invalid_points_are_crosses(seen: dict[str, Any]) -> None:
    """On p50 and p99, in the table, and in words."""
    figure = seen[DESK]["figures"][identifier("latency", "iris")]
    points = [point for name in IRIS for point in of(name).points]
    invalid = [point for point in points if not point.valid]
    crosses = [mark for marks in figure["drawings"][0]["lines"].values() for mark in marks if mark["invalid"]]
    assert len(crosses) == 2 * len(invalid) == 4
    assert {cross["title"].partition("; ")[2] for cross in crosses} == {"invalid: slip 3.1 %", "invalid: slip 2 %"}
    assert [row[-1] for row in figure["rows"][1:] if row[-1] != "yes"] == ["invalid: slip 3.1 %", "invalid: slip 2 %"]
    assert any(note.startswith(f"2 of {len(points)} points are invalid") for note in figure["notes"])


def test_losing_cases_come_first(seen: dict[str, Any]) -> None:
    """By verdict: what is missed before what is not proven before what is met."""
    verdicts = [row[-1] for row in seen[DESK]["verdicts"][1:]]
    order = ["missed", "not proven", "invalid", "not measured", "met"]
    assert verdicts == sorted(verdicts, key=order.index)
    assert verdicts[0] == "missed"
    reload = {point.label: point.p99_ms for point in of("test_p99_during_reload").points}
    during = next(row for row in seen[DESK]["verdicts"] if row[0].startswith("p99 during reloads"))
    assert float(during[3]) == pytest.approx(reload["during"] * 2 / (reload["before"] + reload["after"]), abs=0.005)


@pytest.mark.parametrize("frame", [PHONE, DESK])
def test_nothing_is_wider_than_the_window(seen: dict[str, Any], frame: str) -> None:
    """Wide tables scroll within themselves."""
    assert seen[frame]["needed"] <= seen[frame]["width"]


@pytest.mark.parametrize("frame", [PHONE, DESK])
def test_letters_of_plots_are_legible(seen: dict[str, Any], frame: str) -> None:
    """One drawing of each figure is shown; its letters are large enough, within it, and do not touch."""
    for key, figure in seen[frame]["figures"].items():
        (drawing,) = figure["drawings"]
        for text in drawing["texts"]:
            assert text["size"] >= _LEAST_LETTER_PX, key
            assert drawing["left"] - 1 <= text["left"], (key, text)
            assert text["right"] <= drawing["right"] + 8, (key, text)
        for one, other in combinations(drawing["texts"], 2):
            apart = one["right"] <= other["left"] or other["right"] <= one["left"]
            # Boxes have some air above and below the letters.
            assert apart or one["bottom"] <= other["top"] + 3 or other["bottom"] <= one["top"] + 3, (key, one, other)


@pytest.mark.parametrize("frame", [DESK, DARK])
def test_text_stands_out(seen: dict[str, Any], frame: str) -> None:
    """In both schemes."""
    for selector, pair in seen[frame]["colours"].items():
        light, dark = sorted((luminance(pair["text"]), luminance(pair["behind"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= _LEAST_CONTRAST, (frame, selector, pair)


def test_dark_is_dark(seen: dict[str, Any]) -> None:
    """Where the reader prefers it, and only there."""
    behind = {frame: luminance(seen[frame]["colours"]["h1"]["behind"]) for frame in (DESK, DARK)}
    assert behind[DARK] < 0.05
    assert behind[DESK] > 0.8


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it, of ``rgb(1, 2, 3)``."""
    shares = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_figure_says_what_it_is_and_what_made_it(seen: dict[str, Any]) -> None:
    """For readers who do not see it, and for those who want to see it again."""
    for figure in seen[DESK]["figures"].values():
        (drawing,) = figure["drawings"]
        assert drawing["title"] == figure["caption"]
        assert len(drawing["description"]) > 20
        assert figure["made"]
    assert seen[DESK]["figures"][identifier("latency", "iris")]["made"] == [
        "python -m bench.peers --only triton",
        "make bench ARGS='--only iris'",
    ]
    assert seen[DESK]["figures"][identifier("overload", "iris")]["made"] == [RUN.command]


def test_what_was_not_run_is_one_line(seen: dict[str, Any]) -> None:
    """With the command that runs it, and no frame."""
    absent = [line for line in seen[DESK]["absent"] if line.startswith("Rate of large tensors")]
    assert absent == ['Rate of large tensors: not run. make bench ARGS="--only test_rate_of_large_tensors" runs it.']


def test_the_page_is_alone(seen: dict[str, Any]) -> None:
    """No scripts, whatever models are called, and nothing is fetched."""
    for frame in seen.values():
        assert (frame["scripts"], frame["fetched"]) == (0, 0)
    assert seen[DESK]["figures"][identifier("latency", HOSTILE)]["caption"].startswith(HOSTILE)


def test_method_names_machine_versions_and_seed(seen: dict[str, Any]) -> None:
    """As the run has them."""
    assert {RUN.cpu, RUN.commit, RUN.command, str(RUN.seed), *RUN.versions.values()} <= set(seen[PHONE]["facts"])
