"""Output of ``bench``: a live display while a load runs, and the reports. Measures nothing."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sardonyx_server.cli.output import console, write_line
from sardonyx_server.cli.render import plain_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sardonyx_server.load.compare import Comparison
    from sardonyx_server.load.latencies import Latencies
    from sardonyx_server.load.report import Progress, Report
    from sardonyx_server.load.slo_search import SearchResult

__all__ = ["LiveDisplay", "print_comparison", "print_report", "print_search_result"]

_MS: float = 1e3
_BAR_CHARACTERS = 24


class LiveDisplay:
    """Shows the running load if standard error is a terminal; otherwise does nothing. A context manager."""

    def __init__(self) -> None:
        self._live = (
            Live(console=Console(stderr=True), transient=True, auto_refresh=False) if sys.stderr.isatty() else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def on(self, name: str) -> Callable[[Progress], None] | None:
        """A progress callback for a run called ``name``; None if there is no terminal."""
        live = self._live
        if live is None:
            return None
        return lambda progress: live.update(progress_text(name, progress), refresh=True)

    def close(self) -> None:
        """Remove the display. Idempotent."""
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()


def progress_text(name: str, progress: Progress) -> Text:
    """The lines of the live display."""
    done = min(max(progress.elapsed_s / progress.duration_s, 0.0), 1.0)
    full = round(done * _BAR_CHARACTERS)
    rate = progress.answered / progress.elapsed_s if progress.elapsed_s > 0 else 0.0
    return Text.assemble(
        (name, "bold"),
        "\n",
        ("━" * full, "cyan"),
        ("━" * (_BAR_CHARACTERS - full), "dim"),
        f" {max(progress.elapsed_s, 0):.0f} of {progress.duration_s:g} s   {rate:,.0f}/s   ",
        (f"{progress.failed:,} failed", "bold red" if progress.failed else "dim"),
        f"   slip {progress.slip:.1%}\n",
        _quantiles(progress.latencies),
    )


def print_report(title: str, report: Report, *, slo_s: float | None) -> None:
    """Print the report of one run as text."""
    write_line(title)
    for name, text in report_lines(report, slo_s=slo_s):
        write_line(f"  {name:<8} {text}")


def report_lines(report: Report, *, slo_s: float | None) -> list[tuple[str, str]]:
    """(label, text) of each line of a report."""
    lines = [
        ("rate", f"{report.rate:,.1f}/s answered, {report.sent:,} sent in {report.window_s:.4g} s"),
        ("latency", _quantiles(report.latencies)),
        ("errors", _errors(report)),
        ("slip", f"{report.slip:.2%} of requests sent more than 1 ms late, at most {report.max_late_s * _MS:.3g} ms"),
    ]
    if slo_s is not None:
        lines.append(("SLO", f"p99 within {slo_s * _MS:g} ms: {'met' if report.meets(slo_s) else 'NOT met'}"))
    return lines


def print_search_result(title: str, result: SearchResult, *, slo_s: float) -> None:
    """Print the result of a search as text, then every rate that was tried."""
    if result.report is None:
        write_line(f"{title}: none")
    else:
        print_report(f"{title}: {result.rate:,.1f}/s", result.report, slo_s=slo_s)
    rows = [
        (
            f"{trial.rate:,.1f}/s",
            f"{trial.report.latencies.percentile_s(99) * _MS:.3g} ms",
            f"{trial.report.failed:,}",
            f"{trial.report.slip:.2%}",
            "met" if trial.met else "not met" if trial.report.is_valid else "invalid run",
        )
        for trial in result.trials
    ]
    console().print(plain_table(("tried", "p99", "failed", "slip", ""), rows))


def print_comparison(title: str, compared: Comparison, *, names: tuple[str, str]) -> None:
    """Print a comparison as text: each server alone, then the ratios first / second."""
    write_line(title)
    for name, report in zip(names, (compared.first, compared.second), strict=True):
        print_report(name, report, slo_s=None)
    rows = [(ratio.name, str(ratio)) for ratio in compared.ratios]
    console().print(plain_table((f"{names[0]} / {names[1]}", "median of the rounds (least .. most)"), rows))


def _errors(report: Report) -> str:
    if not report.failed:
        return "none"
    return f"{report.failed:,} of {report.sent:,}: " + ", ".join(
        f"{number:,} {status}" for status, number in report.statuses.items()
    )


def _quantiles(latencies: Latencies) -> str:
    if not latencies.count:
        return "no answers"
    result = latencies.quantiles_s() | {"max": latencies.max_s}
    return "   ".join(f"{name} {value * _MS:.3g} ms" for name, value in result.items())
