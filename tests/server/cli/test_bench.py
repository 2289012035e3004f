"""The verb ``bench`` against a server of a few lines: what it prints, and how it ends."""

from __future__ import annotations

import json

import pytest

from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exit_codes import ExitCode
from tests.server.cli.doubler import Doubler

pytest.importorskip("hdrh")
grpc = pytest.importorskip("grpc")

BRIEF = ("--concurrency", "2", "--duration", "0.3", "--warmup", "0", "--connections", "2")


def test_a_run_is_told_on_a_few_lines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rate, percentiles, errors, slip, and whether the SLO is met."""
    assert run(["bench", url, "--model", "double", *BRIEF, "--slo-p99-ms", "20000"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"double on {url}: 2 callers in a closed loop, 0.3 s, 2 connections"
    assert [line.split()[0] for line in lines[1:]] == ["rate", "latency", "errors", "slip", "SLO"]
    assert lines[3].split() == ["errors", "none"]
    assert lines[5].endswith("p99 within 20000 ms: met")


def test_json_has_the_whole_report(url: str, doubler: Doubler, capsys: pytest.CaptureFixture[str]) -> None:
    """With the histogram; and what it counts is what the server answered, but for the one that tried the data."""
    assert run(["bench", url, "--model", "double", *BRIEF, "--rows", "3", "--json"]) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    report = document["report"]
    assert (document["model"], document["rows"], report["load"]["loop"]) == ("double", 3, "closed")
    assert report["sent"] == report["answered"] == len(doubler.requests) - 1
    assert set(report["latency_s"]) == {"p50", "p90", "p99", "p99.9", "max", "mean"}
    assert report["histogram"].startswith("HIST")
    assert {tuple(request.inputs[0].shape) for request in doubler.requests} == {(3, 2)}
    assert len({request.raw_input_contents[0] for request in doubler.requests}) > 1


def test_an_slo_that_is_missed_gives_exit_code_6(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is answered in a microsecond."""
    assert run(["bench", url, "--model", "double", *BRIEF, "--slo-p99-ms", "0.001"]) == ExitCode.TARGET_MISSED
    assert capsys.readouterr().err == (
        "sardonyx: the SLO is not met: more than 1 % of requests failed or took longer than 0.001 ms\n"
    )


def test_a_comparison_shows_both_and_their_ratios(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Here of a server with itself."""
    assert run(["bench", url, "--model", "double", *BRIEF, "--compare", url, "--rounds", "1", "--json"]) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert document["first"]["answered"] > 0
    assert document["second"]["answered"] > 0
    assert set(document["ratios"]) == {"rate", "p50", "p99"}


def test_an_unknown_model_gives_exit_code_5(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is sent."""
    assert run(["bench", url, "--model", "triple", *BRIEF]) == ExitCode.REQUEST_FAILED
    assert capsys.readouterr().err == f"sardonyx: NOT_FOUND: unknown model (server {url})\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "expected one of --rate, --find-max and --concurrency"),
        (("--rate", "1", "--concurrency", "1"), "expected one of --rate, --find-max and --concurrency"),
        (("--find-max",), "--find-max needs --slo-p99-ms, the limit that the rate must meet"),
        (
            ("--find-max", "--slo-p99-ms", "1", "--compare", "127.0.0.1:2"),
            "--compare needs one load for both servers: --rate or --concurrency",
        ),
        (("--rate", "1", "--arrivals", "x"), "--arrivals: expected one of poisson, constant, burst, got 'x'"),
    ],
)
def test_flags_that_contradict_each_other_give_exit_code_2(
    flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any connection."""
    assert run(["bench", "127.0.0.1:1", "--model", "m", *flags]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"sardonyx: {message}\n"
